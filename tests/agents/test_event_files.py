"""Event files of a training that was cut off and goes on within the same second."""

from __future__ import annotations

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from prune_env.agents.callbacks import tensorboard_logger


def test_files_of_a_training_that_goes_on_at_once_are_read_in_their_order(tmp_path: Path) -> None:
    for first, steps in ((0, (100,)), (101, (200, 300)), (301, (400,))):
        logger = tensorboard_logger(tmp_path, first)
        for step in steps:
            logger.record("return", 0.5)
            logger.dump(step)
        logger.close()
    assert len({path.name.split(".")[3] for path in tmp_path.iterdir()}) == 3, "the second begins a file's name"
    events = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0}).Reload()
    assert [event.step for event in events.Scalars("return")] == [100, 200, 300, 400]
