"""Who may do what: a role is a set of permissions, and every route names the one it asks for."""

from enum import StrEnum


class Permission(StrEnum):
    """What a request does. An API key's scopes are some of its owner's."""

    READ = "read"
    """See alerts, messages and windows."""
    TAG = "tag"
    """Have texts tagged."""
    CORRECT = "correct"
    """Say what a message's label should have been, and see what others said."""
    TRIAGE = "triage"
    """Acknowledge, assign, comment and snooze."""
    CLOSE = "close"
    """Resolve and dispose of."""
    SILENCE = "silence"
    """Ask for silences, and end them."""
    APPROVE = "approve"
    """Be the second person: approve or refuse silences and versions of the rules."""
    RETRY = "retry"
    """Have dead deliveries tried again."""
    EXPORT = "export"
    """Take alerts out with all that they rest on."""
    VERIFY = "verify"
    """Prove the ledger."""
    USERS = "users"
    """Say who may do what, and see who did."""


class Role(StrEnum):
    """What a user is. Nobody who gives rights decides on alerts, and nobody who decides gives."""

    ANALYST = "analyst"
    COMPLIANCE = "compliance"
    ENGINEER = "engineer"
    ADMIN = "admin"


_P = Permission

PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.ANALYST: frozenset({_P.READ, _P.TAG, _P.CORRECT, _P.TRIAGE, _P.SILENCE}),
    Role.COMPLIANCE: frozenset(_P) - {_P.USERS},
    Role.ENGINEER: frozenset({_P.READ, _P.TAG, _P.CORRECT, _P.RETRY, _P.VERIFY}),
    Role.ADMIN: frozenset({_P.READ, _P.VERIFY, _P.USERS}),
}
"""Role -> all that it may do; what is not named is refused."""

KEY_SCOPES = frozenset(Permission) - {_P.USERS, _P.SILENCE, _P.APPROVE, _P.RETRY}
"""What a key may do at most: the rest is done by people on pages."""
