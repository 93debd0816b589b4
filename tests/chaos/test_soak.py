"""The verdict of a soak: growth is found, noise and warming up are not."""

import os

import pytest

from chaos.soak import Sample, processes, verdict


def series(**of: list[float]) -> list[Sample]:
    count = len(next(iter(of.values())))
    flat = {"memory_mib": [300.0] * count, "files": [90.0] * count, "threads": [40.0] * count}
    columns = flat | of
    return [Sample(n, columns["memory_mib"][n], int(columns["files"][n]), int(columns["threads"][n]), 20) for n in range(count)]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("memory_mib", [300.0 + 5 * n for n in range(30)]),
        ("files", [90.0 + n for n in range(30)]),
        ("threads", [40.0 + n for n in range(30)]),
    ],
)
def test_growth_is_found(name: str, values: list[float]) -> None:
    assert [finding.subject for finding in verdict(series(**{name: values}))] == [name]


def test_warming_up_and_noise_are_no_growth() -> None:
    warming = [100.0 + 20 * n for n in range(10)] + [300.0 + n % 7 for n in range(20)]
    assert verdict(series(memory_mib=warming, files=[90.0 + n % 5 for n in range(30)])) == []


def test_workers_belong_to_their_server() -> None:
    assert os.getpid() in processes([os.getppid()])
