"""Plans OPT-13B, without its weights, for one to four drives, and holds the policies against each other."""

from cost_models import HardwareSpec
from models import abstract
from partitioner import PlacementError, Workload, partition

model = abstract("opt-13b")
workload = Workload(batch_size=64, prompt_len=1024, decode_len=1024)
for num_drives in (1, 2, 4):
    hw = HardwareSpec.load("a6000-csd").with_drives(num_drives)
    for policy in ("flexgen-ssd", "instinfer", "auto"):
        try:
            plan = partition(model, hw, workload, policy)
        except PlacementError as error:
            print(f"{num_drives} drives  {policy:<12} {error}")
        else:
            print(f"{num_drives} drives  {policy:<12} {plan.tokens_per_second:8.2f} tokens/s predicted")
