"""Template: the recipes that `instant-soup new` writes, with a comment at every field that one may want to change."""

from __future__ import annotations

HEAD = """\
# A recipe: everything that a run depends on. Lines that begin with "# " and a name show a field and its default.
#
#   instant-soup plan FILE       what it will cost, before anything is paid
#   instant-soup run FILE        draw a ticket, fine-tune it, judge it; a killed run goes on
#   instant-soup compare runs    what the runs say of the methods
"""

SHARE = """
sparsity = 0.8               # the share of the prunable weights that goes
seed = 0                     # of everything that is random; give a list for several: seed = [0, 1, 2]
# budget = 1.0               # the length of the fine-tune in T, one full fine-tune as [training] says
"""

PACKAGED = """
[task]
name = "demo/polarity"       # `instant-soup tasks` lists names; any other name is a task of your own, with data.folder
# model = "packaged"         # 'packaged', a folder such as "my-bert/checkpoint-500", or a hub id
# columns = []               # the column of texts of a task of your own, such as ["Review Text"], or two
# label = "label"            # the column of classes, in words or numbers

[data]
# folder = "path/to/data"    # a table, such as reviews.csv, or a folder with train.csv and test.csv
# limit = 4000               # use only so many examples
# validation = 0.1           # the share of train that selection goes by
# max_length = 128           # tokens of a text; what is longer is cut off
"""

TEXT = """
[task]
name = "my texts"            # any name that `instant-soup tasks` does not list
kind = "text"
model = "packaged"           # a small BERT; or a folder such as "my-bert/checkpoint-500", or a hub id
columns = ["text"]           # the column of texts, or the two columns of pairs
label = "label"              # the column of classes, in words or numbers
# metrics = []               # what to report, such as ["f1"]; accuracy if there is none

[data]
folder = "path/to/data"      # a table, such as reviews.csv, or a folder with train.csv and test.csv
# limit = 4000               # use only so many examples
# validation = 0.1           # the share of train that selection goes by
# max_length = 128           # tokens of a text; what is longer is cut off
"""

IMAGES = """
[task]
name = "my images"           # any name that `instant-soup tasks` does not list
kind = "images"
model = "path/to/model"      # a folder or a hub id of a CLIP or of an image classifier
# classes = []               # of a CLIP: the classes in words, in their order, for a zero-shot head
# templates = []             # of a CLIP: prompts around the words, such as ["a photo of a {}."]
# columns = []               # of a table: the column of images, such as ["image"]
# label = "label"            # of a table: the column of classes, in words or numbers

[data]
folder = "path/to/images"    # train/CLASS/IMAGE and test/CLASS/IMAGE, or CLASS/IMAGE, or a table with images
# limit = 4000               # use only so many examples
# validation = 0.1           # the share of train that selection goes by
"""

METHOD = """
[method]
name = "instant-soup"        # see `instant-soup methods`; for several: name = ["magnitude", "lth"]

[training]
rate = 5e-5                  # the learning rate
batch = 32                   # examples in a step
epochs = 3.0                 # T: passes over the training split
line = "flat"                # the rate stays for half of T and then falls to zero; "linear": it falls all along
# weight_decay = 0.0
# device = "auto"            # what to train on, such as "cuda:1"; the first GPU that torch sees if not set
#   tail = 0.2               is off if not set: end with the mean of the weights over the last fifth of T
"""

LANGUAGE = """
sparsity = 0.5               # the share of the weights of the blocks that goes
budget = 0.0                 # judge the ticket as it was drawn; 1.0 trains it under its mask for T
seed = 0                     # of everything that is random; give a list for several: seed = [0, 1, 2]

[task]
name = "my language"         # any name that `instant-soup tasks` does not list
kind = "language"
model = "packaged"           # SmolLM2-135M; or a folder, a GGUF file or a hub id of a causal language model

[data]
folder = "path/to/text"      # to calibrate on and to learn: files of prose, or tables with a column text
# test = "path/to/test.txt"  # to judge on, where it does not lie beside the other
# window = 2048              # tokens of a window; 2,048 or the model's limit if not set
# windows = 24               # how many windows to judge on; all if not set
# limit = 400                # how many windows to learn from; all if not set
# validation = 0.1           # the share of the windows to learn from that selection goes by

[method]
name = "wanda"               # or "ria", "sparsegpt", "magnitude"; see `instant-soup methods`
# samples = 128              # windows to calibrate on
# pattern = "unstructured"   # or "2:4": keep two of every four neighbouring inputs

[training]
rate = 5e-5                  # the learning rate; it falls to zero by the end
batch = 4                    # windows in a step
epochs = 1.0                 # T: passes over the windows to learn from
# device = "auto"            # what to train on, such as "cuda:1"; the first GPU that torch sees if not set
"""

RECIPES = {
    "packaged": HEAD + SHARE + PACKAGED + METHOD,
    "text": HEAD + SHARE + TEXT + METHOD,
    "images": HEAD + SHARE + IMAGES + METHOD,
    "language": HEAD + LANGUAGE,
}
"""What a new recipe is about -> its text."""
