"""`espsim xfrm`: runs a batch of `ip xfrm` commands, or netlink requests, on a model of the kernel."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO

import click

from espsim.cli import common, fuzz_command
from espsim.cli.numbers import ANY_SEED, Number

if TYPE_CHECKING:
    from espsim.netlink.netns import Netns


@click.command()
@click.argument("file", metavar="FILE|-", required=False)
@click.option("-batch", "--batch", is_flag=True, help="Accepted as in `ip -batch FILE`; has no effect.")
@click.option("-force", "--force", is_flag=True, help="Go on after a line that fails.")
@click.option("--requests", is_flag=True, help="FILE has netlink requests (ALLOCSPI src=.. dst=..), one a line.")
@click.option("--live", is_flag=True, help="Run the batch on this machine's kernel too, and show where they differ.")
@click.option(
    "--policy",
    metavar="NAME",
    help="An SPI rule, or a kernel: linux-6.1, linux-6.1.192, linux-6.12, linux-6.18, linux-7.2, linux-7.3.",
)
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="NAME",
    help="acquire-uapi, encap-port-key, no-iptfs or strict-windows.",
)
@click.option("--seed", type=ANY_SEED, metavar="N", help="The seed of everything random.  [default: 0]")
@click.option("--fuzz", "fuzzes", is_flag=True, help="Draw batches until two sides answer differently; no FILE.")
@click.option("--policies", metavar="A,B", help="With --fuzz: the two SPI rules or kernels to compare.")
@click.option(
    "--seconds",
    type=Number(1, 86_400, "a number of seconds"),
    metavar="N",
    help="With --fuzz: how long to search.  [default: 20]",
)
@click.option(
    "--state", metavar="FILE", help="Load the namespace from FILE if it exists, and save it there at the end."
)
@common.json_option
def xfrm(
    file: str | None,
    batch: bool,
    force: bool,
    requests: bool,
    live: bool,
    policy: str | None,
    options: tuple[str, ...],
    seed: int | None,
    fuzzes: bool,
    policies: str | None,
    seconds: int | None,
    state: str | None,
    as_json: bool,
) -> None:
    """Run a batch of `ip xfrm` commands on a model of one network namespace.

    FILE, or standard input (-), has lines for `ip -batch`: `xfrm state ...`, `xfrm policy ...` and `xfrm monitor`, with
    or without `ip` and its options before them (`ip -s xfrm state list`). The output is that of iproute2. A line that
    `ip` or the kernel refuses is reported as `ip` does, with its number, and the exit status is 2. Without -force it
    ends the batch, and the saved namespace (--state) does not change.

    More lines are `sleep SECONDS`, `sysctl NAME=VALUE`, `pfkey getspi|add|update|... ` and `android allocate ADDR
    [SPI]`.

    With --live every line also runs on the running kernel, in a network namespace made for it. Lines with different
    answers are shown, and the exit status is 1 if there are any.

    With --fuzz there is no FILE. Random batches run on both of --policies A,B, or with --live on the running kernel and
    its model (--policy, else the kernel's own), until a line gets two different answers. Then every line and word that
    does not matter is taken away, the rest is printed as a script for `sh` with both answers, and the exit status is 1.
    It is 0 if --seconds pass without a difference. --seed chooses the batches. Between two policies the wording of
    refusals is not compared.
    """
    from espsim.core.inputs import open_input

    if fuzzes:
        other = {"FILE": file, "-batch": batch, "-force": force, "--requests": requests, "--state": state}
        given = [name for name, value in other.items() if value] + (["--option"] if options else [])
        fuzz_command.check(given, live, policy, policies)
        fuzz_command.run(live, policy, policies, seed or 0, seconds or fuzz_command.SECONDS, as_json=as_json)
        return
    if file is None:
        raise click.UsageError("Missing argument 'FILE|-'.")
    _check(live=live, batch=batch, requests=requests, state=state, options=options, fuzz=(policies, seconds))
    common.keep_apart({"FILE": file}, {"--state": state})
    with open_input(file) as stream:
        if live:
            _live(stream, file, policy, seed or 0, as_json)
            return
        with _kept(state, policy, options, seed) as (netns, save):
            ok = _requests(netns, stream, file) if requests else _batch(netns, stream, file, force, as_json)
            if ok or force:
                save()
    if not ok:
        sys.exit(2)


def _check(
    *, live: bool, batch: bool, requests: bool, state: str | None, options: tuple[str, ...],
    fuzz: tuple[str | None, int | None],
) -> None:  # fmt: skip
    """InputError: options contradict each other. `fuzz`: the options for --fuzz alone."""
    from espsim.core.errors import InputError
    from espsim.core.inputs import STANDARD

    if fuzz != (None, None):
        raise InputError("--policies and --seconds need --fuzz")
    if live and (requests or state is not None or options):
        raise InputError("--live runs a batch, without --requests, --state and --option")
    if batch and requests:
        raise InputError("-batch and --requests: FILE is one or the other")
    if state == STANDARD:
        raise InputError("--state is read and written: name a file", where=state)


@contextlib.contextmanager
def _kept(
    state: str | None, policy: str | None, options: tuple[str, ...], seed: int | None
) -> Iterator[tuple[Netns, Callable[[], None]]]:
    """The namespace to start with, and a function that saves it. Unless that is called nothing is saved."""
    from espsim.netlink.netns import Netns
    from espsim.sad.linux import DEFAULT_KERNEL
    from espsim.xfrm.state_file import load_netns, open_state, save_netns

    made = Netns(policy or DEFAULT_KERNEL, options=options, seed=seed or 0)  # refuses what it does not know, first
    if state is None:
        yield made, lambda: None
        return
    netns = load_netns(state, kernel=policy, options=options or None, seed=seed) or made
    output = open_state(state)
    try:
        yield netns, lambda: save_netns(netns, output)
    finally:
        output.discard()


def _batch(netns: Netns, stream: BinaryIO, where: str, force: bool, as_json: bool) -> bool:
    """Run the batch. Returns whether every line succeeded."""
    from espsim.core.echo import printable
    from espsim.xfrm.batch import Batch
    from espsim.xfrm.batch_lines import read_batch

    batch = Batch(netns)
    ok = True
    for line in read_batch(stream, where):
        outcome = batch.run(line)
        if as_json:
            click.echo(json.dumps(outcome.as_dict()))
        else:
            click.echo(printable(outcome.stdout, keep="\n\t"), nl=False)
        if not outcome.ok:
            ok = False
            if not as_json:
                click.echo(
                    printable(f"{outcome.stderr}Command failed {printable(where)}:{line.number}", keep="\n"), err=True
                )
            if not force:
                break
    return ok


def _requests(netns: Netns, stream: BinaryIO, where: str) -> bool:
    """Print one JSON answer for each request. A refusal by the kernel is an answer, not a failure."""
    from espsim.xfrm.batch_lines import read_lines
    from espsim.xfrm.requests import run_requests

    for answer in run_requests(netns, read_lines(stream, where), where):
        click.echo(json.dumps(answer))
    return True


def _live(stream: BinaryIO, where: str, policy: str | None, seed: int, as_json: bool) -> None:
    from espsim.report.live import print_live
    from espsim.xfrm.batch_lines import read_batch
    from espsim.xfrm.live import run_live

    result = run_live(list(read_batch(stream, where)), policy=policy, seed=seed)
    if as_json:
        common.print_json(result.as_dict())
    else:
        print_live(result.as_dict())
    if result.differences:
        sys.exit(1)
