//! Giving up what root may do: `server.chroot`, `run_as_group`, `run_as_user`; and keeping to itself what
//! the process has in its memory.
//!
//! It happens after everything is read and bound, and before there is any thread; then it is
//! looked at again, for a broker that goes on as root by mistake must not run. Limits: a reload
//! reads its files inside of the jail, makes its sockets there, and what root alone may bind cannot be bound any more.

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

/// What the resolver reads (resolver(5), hosts(5), nsswitch.conf(5)).
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

/// Who the broker is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    user: Option<User>,
    group: Option<Gid>,
    /// `group`, and the others of `user`.
    groups: Vec<Gid>,
}

impl Identity {
    /// Looks the names up, which a jail could not.
    ///
    /// # Errors
    /// A user or a group that does not exist.
    pub fn of(privileges: &Privileges) -> Result<Self, Error> {
        let user = privileges.user.as_deref().map(user).transpose()?;
        let group = match &privileges.group {
            Some(name) => Some(group(name)?),
            // Its own: no group of root's stays behind.
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

/// Keeps passwords and tokens in this process: no other one of its user may read its memory or its
/// environment (PR_SET_DUMPABLE), and it leaves no core. To be repeated whenever the user has changed.
pub fn keep_to_itself() {
    // Neither fails where it is there at all.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
}

/// Goes into the jail, and becomes `identity`.
///
/// # Errors
/// Whatever is asked for and cannot be had.
pub fn drop_privileges(identity: &Identity, jail: Option<&Path>) -> Result<(), Error> {
    if let Some(jail) = jail {
        enter(jail)?;
    }
    let Identity { user, group, groups } = identity;
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: nix::Error| Error(format!("{what}: {error}"))
    };
    if !geteuid().is_root() {
        // Whoever is not root can become nobody else; to be that one already is fine.
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
        // What was given up must be gone for good.
        if !user.uid.is_root() && (geteuid() != user.uid || setuid(Uid::from_raw(0)).is_ok()) {
            return Err(Error("root's rights could be taken back".to_owned()));
        }
    }
    Ok(())
}

/// Whether `jail` holds what it must.
///
/// # Errors
/// What it lacks.
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
    // glibc opens its libraries for names at the first one.
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
