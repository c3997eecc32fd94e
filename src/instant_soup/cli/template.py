"""Template: the recipe that `instant-soup new` writes, with a comment at every field that one may want to change."""

from __future__ import annotations

RECIPE = """\
# A recipe: everything that a run depends on. Lines that begin with "# " and a name show a field and its default.
#
#   instant-soup plan FILE       what it will cost, before anything is paid
#   instant-soup run FILE        draw a ticket, fine-tune it, judge it; a killed run goes on
#   instant-soup compare runs    what the runs say of the methods

sparsity = 0.8               # the share of the prunable weights that goes
seed = 0                     # of everything that is random; give a list for several: seed = [0, 1, 2]
# budget = 1.0               # the length of the fine-tune in T, one full fine-tune as [training] says

[task]
name = "demo/polarity"       # `instant-soup tasks` lists names; any other name is a task of your own, with data.folder
# model = "packaged"         # 'packaged', a folder such as "my-bert/checkpoint-500", or a hub id
# columns = []               # the column of texts of a task of your own, such as ["Review Text"], or two
# label = "label"            # the column of classes, in words or numbers

[data]
# folder = "path/to/data"    # a table, such as reviews.csv, or a folder with train.csv and test.csv
# limit = 4000               # use only so many examples
# validation = 0.1           # the share of train that selection goes by
# max_length = 128           # tokens of a text

[method]
name = "instant-soup"        # see `instant-soup methods`; for several: name = ["magnitude", "lth"]

[training]
rate = 5e-5                  # the learning rate; it falls to zero by the end
batch = 32                   # examples in a step
epochs = 3.0                 # T: passes over the training split
# weight_decay = 0.0
# line = "linear"            # or "flat": the rate stays for half of T and then falls
# device = "auto"            # what to train on, such as "cuda:1"; the first GPU that torch sees if not set
#   tail = 0.2               is off if not set: end with the mean of the weights over the last fifth of T
"""
