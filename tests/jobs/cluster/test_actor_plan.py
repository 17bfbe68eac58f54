"""Tests of the actor plan: its message if the actors do not fit on the GPUs."""

import pytest

from jobs.cluster.actor_plan import explain_too_few_gpus


@pytest.mark.parametrize(
    ("n_actors", "gpus", "n_gpus", "expected"),
    [
        (
            None,
            1.0,
            0,
            "--gpus-per-actor 1 takes 1 GPU, and this machine has none; --gpus-per-actor 0",
        ),
        (4, 0.5, 0, "--actors 4 with --gpus-per-actor 0.5 takes a GPU, and this machine has none"),
        (4, 1.0, 2, "takes 4 GPUs, and this machine has 2; use --actors 2 or auto, or a smaller"),
        (None, 4.0, 2, "--gpus-per-actor 4 takes 4 GPUs, and this machine has 2; use --gpus-per"),
    ],
)
def test_message_about_too_few_gpus_suggests_options_that_fit(n_actors, gpus, n_gpus, expected):
    message = explain_too_few_gpus(n_actors, gpus, n_gpus)
    assert expected in message
    if n_actors is None:
        assert "--actors" not in message
