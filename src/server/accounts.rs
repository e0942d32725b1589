//! Users and groups of settings: a number, or a name of the user database.

use std::ffi::CString;
use std::io;

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

/// A user of the database.
pub(super) fn user(name: &str) -> io::Result<User> {
    let found = match name.parse() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(name),
    };
    found?.ok_or_else(|| no_such("user", name))
}

/// The database need not have a number.
pub(super) fn user_id(name: &str) -> io::Result<u32> {
    name.parse().or_else(|_| Ok(user(name)?.uid.as_raw()))
}

/// Likewise.
pub(super) fn group_id(name: &str) -> io::Result<u32> {
    let number = name.parse();
    number.or_else(|_| Ok(Group::from_name(name)?.ok_or_else(|| no_such("group", name))?.gid.as_raw()))
}

fn no_such(kind: &str, name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("there is no {kind} {name:?}"))
}

/// `group`, and the other groups of `user`.
pub(super) fn groups(user: &User, group: Gid) -> io::Result<Vec<Gid>> {
    Ok(getgrouplist(&CString::new(user.name.as_str())?, group)?)
}

/// The name of a user; its number if the database has none.
pub(super) fn user_name(user: Uid) -> String {
    User::from_uid(user).ok().flatten().map_or_else(|| user.to_string(), |user| user.name)
}

pub(super) fn group_name(group: Gid) -> String {
    Group::from_gid(group).ok().flatten().map_or_else(|| group.to_string(), |group| group.name)
}
