//! The statuses of gRPC (its documentation, statuscodes.md), by the names that the Go program's metrics have.

/// `OK`: the call has an answer.
pub const OK: u16 = 0;
/// `UNKNOWN`; also any number without a name.
pub const UNKNOWN: u16 = 2;
/// `DEADLINE_EXCEEDED`.
pub const DEADLINE_EXCEEDED: u16 = 4;
/// `PERMISSION_DENIED`: the caller's own credentials do not suffice.
pub const PERMISSION_DENIED: u16 = 7;
/// `RESOURCE_EXHAUSTED`.
pub const RESOURCE_EXHAUSTED: u16 = 8;
/// `UNIMPLEMENTED`: there is no such service.
pub const UNIMPLEMENTED: u16 = 12;
/// `INTERNAL`.
pub const INTERNAL: u16 = 13;
/// `UNAVAILABLE`.
pub const UNAVAILABLE: u16 = 14;
/// `UNAUTHENTICATED`: the caller's own credentials are not valid.
pub const UNAUTHENTICATED: u16 = 16;

/// The names, by number.
pub const NAMES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// The name of a status.
#[must_use]
pub fn name(status: u16) -> &'static str {
    NAMES.get(usize::from(status)).unwrap_or(&NAMES[usize::from(UNKNOWN)])
}

/// Whether a status says that the service is in trouble, and not that it refuses this call.
#[must_use]
pub fn is_outage(status: u16) -> bool {
    matches!(status, UNKNOWN | DEADLINE_EXCEEDED | RESOURCE_EXHAUSTED | INTERNAL | UNAVAILABLE)
}
