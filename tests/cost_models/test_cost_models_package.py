import subprocess
import sys

import cost_models


def test_public_names_exist():
    assert sorted(set(cost_models.__all__)) == sorted(cost_models.__all__)
    for name in cost_models.__all__:
        assert hasattr(cost_models, name)


def test_importing_does_not_import_jax():
    code = "import sys, cost_models; cost_models.HardwareSpec.load('demo'); print('jax' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
