"""Plans the shipped model with its KV cache on a computational storage drive, and generates text."""

from models import load_pretrained
from partitioner import Workload, partition
from runtime import Session

model = load_pretrained("tiny")
plan = partition(model, "demo", Workload(batch_size=2, prompt_len=64, decode_len=32), policy="instinfer")
print(plan.report())
with Session(plan, model, clock="wall") as session:
    result = session.generate(["def mean(values):\n", "class Stack:\n"], max_new_tokens=32)
print(*result.texts or (), f"{result.tokens_per_second:.1f} tokens/s", sep="\n---\n")
