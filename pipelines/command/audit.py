"""`foreshock alerts verify`, `head`, `keygen`, `erase`: the record, proved and kept lawful."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.text import Text

from alerting import heads
from connectors.store import Store
from pipelines.audit import Finding, Proof, prove, proven_end
from pipelines.command.console import inert, out, print_json
from pipelines.command.decisions import As, user
from pipelines.command.options import DEFAULT_DATABASE, Database, Json
from pipelines.erasure import erase
from pipelines.metrics.instruments import metrics


def verify(
    database: Database = DEFAULT_DATABASE,
    head: Annotated[
        Path | None, typer.Option("--head", help="Heads of the ledger that were kept outside.")
    ] = None,
    public_key: Annotated[
        Path | None, typer.Option("--public-key", help="Check the heads' signatures by this key.")
    ] = None,
    json: Json = False,
) -> None:
    """Prove that the ledger and the alerts are as they were written, or name the first bad row."""
    if public_key is not None and head is None:
        raise typer.BadParameter("--public-key checks the signature of a head: give --head too")
    kept = heads.read_heads(head) if head else []
    forged = None
    if public_key is not None:
        key = heads.load_public(public_key)
        forged = next(filter(None, (heads.check(one, key) for one in kept)), None)
    with Store.existing(database) as store:
        proof = prove(store, kept, signed=public_key is not None)
    if forged is not None:
        proof = msgspec.structs.replace(
            proof, holds=False, broken=Finding(table="head", id=str(head), reason=forged)
        )
    # Seen by Prometheus where the environment names the folder of a job's figures.
    metrics().ledger(intact=proof.holds)
    if json:
        print_json(msgspec.to_builtins(proof))
    else:
        _tell(proof)
    if not proof.holds:
        sys.exit(1)


def take_head(
    target: Annotated[Path, typer.Option("--out", help="File for the head: keep it outside.")],
    key: Annotated[
        Path | None, typer.Option("--key", help="Sign it with this private key (alerts keygen).")
    ] = None,
    database: Database = DEFAULT_DATABASE,
) -> None:
    """Write down where the ledger ends, its chain being whole, to hold it against later.

    A file that holds heads already gets one more: the chain must run through all of them.
    """
    private = heads.load_private(key) if key else None
    with Store.existing(database) as store:
        point = proven_end(store)
    heads.add_head(target, heads.sign(point, private))
    signed = "signed" if private else "not signed"
    out.print(Text(f"{target}: row {point.sequence}, {point.hash[:16]}…, {signed}."))


def keygen(
    folder: Annotated[Path, typer.Option("--out", help="Folder for the two files.")],
) -> None:
    """Make a pair of keys to sign heads with, and to check them."""
    private, public = heads.generate(folder)
    out.print(Text(f"{private}: signs heads; keep it where the database's users cannot read it."))
    out.print(Text(f"{public}: checks them; give it to whoever audits."))


def erase_message(
    message_id: Annotated[str, typer.Argument(help="The message's whole id.")],
    reason: Annotated[str, typer.Option("--reason", help="On what ground; it stays for good.")],
    actor: As = None,
    database: Database = DEFAULT_DATABASE,
) -> None:
    """Erase a message's text for good, in the alerts too; the ledger says so and still holds."""
    with Store.existing(database) as store:
        with store.transaction() as tx:
            rows = erase(tx, message_id, reason=reason, actor=user(actor), now=datetime.now(UTC))
        store.flush()
    out.print(Text(inert(f"Erased {message_id}: {len(rows)} alerts showed it.")))


def _tell(proof: Proof) -> None:
    if proof.broken is not None:
        broken = proof.broken
        place = f", row {broken.sequence} of the ledger" if broken.sequence else ""
        row = f" {broken.id}" if broken.id else ""
        said = f"BROKEN: {broken.table}{row}{place}: {broken.reason}"
        out.print(Text(inert(said), style="bold red"), soft_wrap=True)
    else:
        out.print(
            f"Holds: {proof.events:,} events in one chain, {proof.alerts:,} alerts as it says, "
            f"up to row {proof.end.sequence}, {proof.end.hash[:16]}…"
        )
    if proof.erased:
        out.print(f"Erased, as the ledger says: {len(proof.erased):,} messages.")
    for sentence in proof.unproved:
        out.print(Text(f"Unproved: {sentence}"))
