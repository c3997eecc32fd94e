"""Tasks by name: the world, ready to learn from."""

from __future__ import annotations

from collections.abc import Mapping

from ..core.table import Table
from ..data.images import IMAGE_TASKS, ImageSpec
from ..data.known_texts import LANGUAGE_TASKS, LanguageSpec
from ..data.polarity import SPEC as _POLARITY
from ..data.text import GLUE_TASKS, TextSpec
from .image import image
from .language import language
from .module import module
from .task import CourseTask
from .text import DEMO, text

TASKS: Mapping[str, TextSpec | ImageSpec | LanguageSpec] = Table(
    "task", {DEMO: _POLARITY, **GLUE_TASKS, **IMAGE_TASKS, **LANGUAGE_TASKS}
)

__all__ = ["TASKS", "CourseTask", "image", "language", "module", "text"]
