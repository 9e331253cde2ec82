"""Reading and writing checkpoints in the folder format of Hugging Face."""

from models.checkpoint.load import load_pretrained
from models.checkpoint.save import save_pretrained

__all__ = ["load_pretrained", "save_pretrained"]
