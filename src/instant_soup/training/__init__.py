"""The one training loop, and the learner that methods see."""
