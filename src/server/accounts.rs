//! User and group ids of settings: a number, or a name of the user database.

use std::io;

use nix::unistd::{Group, User};

pub(super) fn user_id(user: &str) -> io::Result<u32> {
    if let Ok(number) = user.parse() {
        return Ok(number);
    }
    let found = User::from_name(user)?;
    found.map(|user| user.uid.as_raw()).ok_or_else(|| no_such("user", user))
}

pub(super) fn group_id(group: &str) -> io::Result<u32> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let found = Group::from_name(group)?;
    found.map(|group| group.gid.as_raw()).ok_or_else(|| no_such("group", group))
}

fn no_such(kind: &str, name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("there is no {kind} {name:?}"))
}
