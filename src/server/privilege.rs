//! Drops the rights of root (`server.chroot`, `run_as_group`, `run_as_user`), and protects the memory of the
//! process.
//!
//! This happens after the configuration is read and the sockets are bound, before any thread starts. The
//! result is verified, so that the broker does not run as root by mistake. Limits: a reload reads files and
//! makes sockets inside of the jail, and cannot bind what only root may bind.

use std::ffi::CString;
use std::fmt;
use std::net::ToSocketAddrs;
use std::path::Path;

use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{
    Gid, Group, Uid, User, chdir, chroot, getegid, geteuid, getgrouplist, setgid, setgroups, setuid,
};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use super::settings::Privileges;

/// The files of the resolver (resolver(5), hosts(5), nsswitch.conf(5)).
const RESOLVER: [&str; 3] = ["etc/resolv.conf", "etc/hosts", "etc/nsswitch.conf"];

/// Why the broker must not run.
#[derive(Debug)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// User and groups of the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessIdentity {
    user: Option<User>,
    group: Option<Gid>,
    /// `group`, and the other groups of `user`.
    groups: Vec<Gid>,
}

impl ProcessIdentity {
    /// Looks up the names, before the jail.
    ///
    /// # Errors
    /// A user or a group that does not exist.
    pub fn of(privileges: &Privileges) -> Result<Self, Error> {
        let user = privileges.user.as_deref().map(user).transpose()?;
        let group = match &privileges.group {
            Some(name) => Some(group(name)?),
            // Its own groups: those of root must be dropped.
            None => user.as_ref().map(|user| user.gid),
        };
        let groups = match (&user, group) {
            (Some(user), Some(group)) => groups(user, group)?,
            (_, group) => group.into_iter().collect(),
        };
        Ok(Self { user, group, groups })
    }

    /// Its user, where one is named.
    pub(crate) fn user(&self) -> Option<u32> {
        self.user.as_ref().map(|user| user.uid.as_raw())
    }

    /// Its group, likewise.
    pub(crate) fn group(&self) -> Option<u32> {
        self.group.map(Gid::as_raw)
    }
}

/// Protects passwords and tokens: other processes of the user cannot read memory and environment
/// (PR_SET_DUMPABLE), and there is no core. To be repeated after a change of the user.
pub fn keep_to_itself() {
    // These do not fail if the system has them.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
}

/// Enters the jail and becomes `identity`.
///
/// # Errors
/// A step fails.
pub fn drop_privileges(identity: &ProcessIdentity, jail: Option<&Path>) -> Result<(), Error> {
    if let Some(jail) = jail {
        enter(jail)?;
    }
    let ProcessIdentity { user, group, groups } = identity;
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: nix::Error| Error(format!("{what}: {error}"))
    };
    if !geteuid().is_root() {
        // Without root the user cannot change. It may be the right one already.
        let is_user = user.as_ref().is_none_or(|user| user.uid == geteuid());
        let is_group = group.is_none_or(|group| group == getegid());
        let other = if is_user { "run_as_group" } else { "run_as_user" };
        return if is_user && is_group {
            Ok(())
        } else {
            Err(Error(format!("server.{other} names another one, and only root can become that")))
        };
    }
    let Some(group) = *group else { return Ok(()) };
    setgroups(groups).map_err(failed("cannot take on the groups of server.run_as_user"))?;
    setgid(group).map_err(failed("cannot become server.run_as_group"))?;
    if let Some(user) = user {
        setuid(user.uid).map_err(failed("cannot become server.run_as_user"))?;
        // It must not be possible to become root again.
        if !user.uid.is_root() && (geteuid() != user.uid || setuid(Uid::from_raw(0)).is_ok()) {
            return Err(Error("root's rights could be taken back".to_owned()));
        }
    }
    Ok(())
}

/// Checks that `jail` has the necessary files.
///
/// # Errors
/// The missing file.
pub fn furnished(jail: &Path) -> Result<(), Error> {
    let lacks: Vec<_> = RESOLVER.into_iter().filter(|file| !jail.join(file).is_file()).collect();
    if lacks.is_empty() {
        return Ok(());
    }
    let (jail, lacks) = (jail.display(), lacks.join(", "));
    Err(Error(format!("server.chroot: {jail} lacks {lacks}, which names need")))
}

fn enter(jail: &Path) -> Result<(), Error> {
    furnished(jail)?;
    let shown = jail.display();
    // glibc loads its libraries at the first lookup.
    let _ = ("localhost", 0).to_socket_addrs();
    chroot(jail)
        .and_then(|()| chdir("/"))
        .map_err(|error| Error(format!("server.chroot: cannot change the root to {shown}: {error}")))
}

fn user(name: &str) -> Result<User, Error> {
    let found = match name.parse() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(name),
    };
    found.ok().flatten().ok_or_else(|| Error(format!("server.run_as_user: there is no user {name:?}")))
}

fn groups(user: &User, group: Gid) -> Result<Vec<Gid>, Error> {
    let cannot = |error: &dyn fmt::Display| Error(format!("the groups of server.run_as_user: {error}"));
    let name = CString::new(user.name.as_str()).map_err(|error| cannot(&error))?;
    getgrouplist(&name, group).map_err(|error| cannot(&error))
}

fn group(name: &str) -> Result<Gid, Error> {
    if let Ok(number) = name.parse() {
        return Ok(Gid::from_raw(number));
    }
    let found = Group::from_name(name).ok().flatten().map(|group| group.gid);
    found.ok_or_else(|| Error(format!("server.run_as_group: there is no group {name:?}")))
}
