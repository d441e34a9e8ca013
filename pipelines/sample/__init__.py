"""The bundled sample of real tweets; `README.md` beside this file says what is in it."""

from pathlib import Path

SAMPLE = Path(__file__).with_name("stocknet_sample.jsonl.gz")
