"""Calibration on a Dask cluster that exists already: shares for the workers of a scheduler, tables reduced by tree.

A worker needs this package, the extra `dask`, and the model and the calibration data under the same paths as here. A
share depends on nothing but its arguments, so Dask runs those of a worker that died again, and the result is the same.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calibrators import CalibrationTable, decode_table, encode_table
from qdq_cli.calibrating.merging import join
from qdq_cli.calibrating.shares import Share, observe_share, open_job, open_share
from qdq_cli.config.calibrate import CalibrateConfig, Shard
from qdq_cli.config.preprocess import PRESETS
from qdq_cli.data.doubts import tell_doubts
from qdq_cli.data.values import SampleValues
from qdq_cli.process.errors import DataError, ExitCode, LimitError, ModelError, QdqError, UsageError
from qdq_cli.process.extras import install_line
from qdq_cli.process.interrupts import Stop
from qdq_cli.process.progress import SILENT, Listener
from qdq_cli.running.execution import runs_as_told
from qdq_cli.running.session import cores

if TYPE_CHECKING:
    import distributed

SHARES_A_THREAD = 4
"""More than one, so that threads end at about the same time and little is lost with a worker."""

_FAN_IN = 8  # tables merged by one task
_POLL_SECONDS = 0.1
_ERRORS: dict[ExitCode, type[QdqError]] = {
    kind.exit_code: kind for kind in (UsageError, ModelError, DataError, LimitError)
}


@dataclass(frozen=True)
class Part:
    """What a task hands on: a share whose table is packed, small enough to travel.

    Args:
        packed: The table as a calibration cache.
        share: All the rest.
    """

    packed: bytes
    share: Share

    @classmethod
    def of(cls, share: Share) -> Part:
        """Pack the table of a share."""
        return cls(encode_table(share.table), replace(share, table=CalibrationTable()))

    def unpack(self) -> Share:
        """Return the share with its table."""
        return replace(self.share, table=decode_table(self.packed, "A share of the cluster"))


def observe_on_cluster(
    config: CalibrateConfig, before: CalibrationTable | None, listener: Listener, stop: Stop
) -> Share:
    """Let the workers of a Dask scheduler observe the samples.

    Args:
        config: What to do; `config.dask` is the scheduler's address, or a scheduler file that ends in .json.
        before: The table that is added to, whose samples are left out.
        listener: Told about progress, in shares.
        stop: Ends early; shares that are finished by then count.

    Raises:
        UsageError: Dask is not installed, no scheduler answers, or a worker lacks this package.
        ModelError: The workers died again and again; or see `observe_share`.
        DataError: See `observe_share`.
    """
    with _connected(config.dask or "") as client:
        try:
            parts, total = _run_shares(client, _for_workers(config), before, listener, stop)
            merged = _reduce(client, parts).unpack() if parts else Share(CalibrationTable())
        except (OSError, CancelledError, ImportError, _given_up()) as error:
            raise _failure(error) from error
    for note in merged.notes:
        listener.note(note)
    tell_doubts(merged.doubts, listener.warning, strict=config.data.strict)
    return replace(merged, left=0 if len(parts) == total else None)


def run_share(config: CalibrateConfig, known: frozenset[str]) -> Part:
    """Run one share on a worker.

    Raises:
        QdqError: Of a class that survives the way back.
    """
    from distributed import get_worker

    try:
        return _run_share(config, known, get_worker().state.nthreads)
    except QdqError as error:
        raise _ERRORS[error.exit_code](error.message, error.hint) from None


@runs_as_told
def _run_share(config: CalibrateConfig, known: frozenset[str], beside: int) -> Part:
    """Run one share; `beside` are the shares that a worker runs at once."""
    job = replace(open_job(config), threads=max(1, cores() // beside))
    samples = open_share(job, config)
    if config.data.strict:  # found before the work is done
        tell_doubts(samples.every.doubts, SILENT.warning, strict=True)
    return Part.of(observe_share(job, samples, known))


def merge_parts(parts: Sequence[Part]) -> Part:
    """Merge shares into one."""
    first, *others = [part.unpack() for part in parts]
    table, values = first.table, SampleValues()
    for share in (first, *others):
        values.merge(share.values)
    for number, share in enumerate(others, 2):
        table = join(("share 1", table), (f"share {number}", share.table))
    return Part.of(
        replace(
            first,
            table=table,
            known=tuple(source for share in (first, *others) for source in share.known),
            notes=tuple(dict.fromkeys(note for share in (first, *others) for note in share.notes)),
            values=values,
            doubts=tuple(dict.fromkeys(doubt for share in (first, *others) for doubt in share.doubts)),
        )
    )


def _run_shares(
    client: distributed.Client, config: CalibrateConfig, before: CalibrationTable | None, listener: Listener, stop: Stop
) -> tuple[list[Any], int]:
    """Hand out all shares and wait; returns the futures of those that were finished, and how many there are in all."""
    known = before.provenance.samples if before is not None else frozenset[str]()
    sent = client.scatter([known], broadcast=True)[0] if known else known
    total = SHARES_A_THREAD * sum(client.nthreads().values())
    futures = [
        client.submit(run_share, replace(config, shard=part_of(config.shard, Shard(number, total))), sent, pure=False)
        for number in range(1, total + 1)
    ]
    with listener.progress("calibrating (shares)", total) as advance:
        while (done := sum(future.done() for future in futures)) < total and not stop():
            advance(done, total)
            _raise_first(futures)
            time.sleep(_POLL_SECONDS)
        advance(done, total)
    client.cancel([future for future in futures if not future.done()])
    _raise_first(futures)
    return [future for future in futures if future.status == "finished"], total


def part_of(outer: Shard, inner: Shard) -> Shard:
    """The share `inner` of the share `outer`, as one share of everything."""
    return Shard((inner.number - 1) * outer.total + outer.number, inner.total * outer.total)


def _raise_first(futures: Sequence[Any]) -> None:
    """Raise the error of the first share that failed."""
    for future in futures:
        if future.status == "error":
            future.result()


def _reduce(client: distributed.Client, futures: list[Any]) -> Part:
    """Merge by tree, a few tables a task, wherever they are."""
    while len(futures) > 1:
        futures = [
            client.submit(merge_parts, futures[start : start + _FAN_IN], pure=False)
            for start in range(0, len(futures), _FAN_IN)
        ]
    part: Part = futures[0].result()
    return part


def _connected(address: str) -> distributed.Client:
    """Connect to a scheduler that has workers."""
    if address.endswith(".json") and not Path(address).is_file():
        raise UsageError(f"There is no Dask scheduler file {address}.", "Check the path, or give tcp://HOST:8786.")
    try:
        import distributed
        from dask import config
        from dask.utils import parse_timedelta
    except ImportError as error:
        raise UsageError("--dask needs Dask, which is not installed.", f"{install_line('dask')}.") from error
    seconds = parse_timedelta(config.get("distributed.comm.timeouts.connect"))
    where = {"scheduler_file": address} if address.endswith(".json") else {"address": address}
    try:
        client = distributed.Client(**where, timeout=seconds, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"No Dask scheduler answers at '{address}'.", "Check the address: tcp://HOST:8786.") from error
    try:
        client.wait_for_workers(1, timeout=seconds)
    except OSError as error:
        client.close()
        raise UsageError(
            f"The Dask scheduler at '{address}' has no workers.", "Start some: dask worker ADDRESS."
        ) from error
    return client


def _for_workers(config: CalibrateConfig) -> CalibrateConfig:
    """The configuration with absolute paths: workers run in other folders."""
    data = config.data
    preprocess = data.preprocess
    if preprocess is not None and preprocess not in PRESETS:
        preprocess = str(Path(preprocess).absolute())
    calib = tuple(path.absolute() for path in data.calib)
    return replace(config, model=config.model.absolute(), data=replace(data, calib=calib, preprocess=preprocess))


def _given_up() -> type[Exception]:
    """What Dask raises when the workers of a task died again and again."""
    import distributed

    error: type[Exception] = distributed.KilledWorker
    return error


def _failure(error: BaseException) -> QdqError:
    """Say what a failure of the cluster means."""
    reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
    if isinstance(error, ImportError):
        return UsageError(
            f"A worker of the Dask cluster lacks a package: {reason}.",
            "Install the same version of qdq on all workers.",
        )
    return ModelError(
        f"The Dask cluster did not finish: {reason}.",
        "Look at the logs of its workers; memory is the usual reason. --shard and qdq cache merge need no cluster.",
    )
