//! Drops the rights of root (`server.chroot`, `run_as_group`, `run_as_user`), and protects the memory of the
//! process.
//!
//! This happens after the configuration is read and the sockets are bound, before any thread starts. The
//! result is verified, so that the broker does not run as root by mistake. Limits: a reload reads files and
//! makes sockets inside of the jail, and cannot bind what only root may bind.

use std::net::ToSocketAddrs;
use std::path::Path;

use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Uid, User, chdir, chroot, getegid, geteuid, setgid, setgroups, setuid};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use super::accounts::{group_id, groups, user};
use super::settings::Privileges;

/// The files of the resolver (resolver(5), hosts(5), nsswitch.conf(5)).
const RESOLVER: [&str; 3] = ["etc/resolv.conf", "etc/hosts", "etc/nsswitch.conf"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProcessIdentity {
    pub(super) user: Option<User>,
    pub(super) group: Option<Gid>,
    /// `group`, and the other groups of `user`.
    groups: Vec<Gid>,
}

impl ProcessIdentity {
    /// Looks up the names, before the jail. The error is that one does not exist.
    pub(crate) fn of(privileges: &Privileges) -> Result<Self, String> {
        let no_user = |name| format!("server.run_as_user: there is no user {name:?}");
        let no_group = |name| format!("server.run_as_group: there is no group {name:?}");
        let named = privileges.user.as_deref().map(|name| user(name).map_err(|_| no_user(name)));
        let user = named.transpose()?;
        let named = privileges.group.as_deref().map(|name| group_id(name).map_err(|_| no_group(name)));
        // Without one, those of the user: the groups of root must be dropped.
        let group = named.transpose()?.map(Gid::from_raw).or(user.as_ref().map(|user| user.gid));
        let groups = match (&user, group) {
            (Some(user), Some(group)) => {
                groups(user, group).map_err(|error| format!("the groups of server.run_as_user: {error}"))?
            }
            (_, group) => group.into_iter().collect(),
        };
        Ok(Self { user, group, groups })
    }
}

/// Protects passwords and tokens: other processes of the user cannot read memory and environment
/// (PR_SET_DUMPABLE), and there is no core. To be repeated after a change of the user.
pub(crate) fn keep_to_itself() {
    // These do not fail if the system has them.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
}

/// Enters the jail and becomes `identity`.
pub(crate) fn drop_privileges(identity: &ProcessIdentity, jail: Option<&Path>) -> Result<(), String> {
    if let Some(jail) = jail {
        enter(jail)?;
    }
    let ProcessIdentity { user, group, groups } = identity;
    let failed = |what: &'static str| move |error: nix::Error| format!("{what}: {error}");
    if !geteuid().is_root() {
        // Without root the user cannot change. It may be the right one already.
        let is_user = user.as_ref().is_none_or(|user| user.uid == geteuid());
        let is_group = group.is_none_or(|group| group == getegid());
        let other = if is_user { "run_as_group" } else { "run_as_user" };
        return if is_user && is_group {
            Ok(())
        } else {
            Err(format!("server.{other} names another one, and only root can become that"))
        };
    }
    let Some(group) = *group else { return Ok(()) };
    setgroups(groups).map_err(failed("cannot take on the groups of server.run_as_user"))?;
    setgid(group).map_err(failed("cannot become server.run_as_group"))?;
    if let Some(user) = user {
        setuid(user.uid).map_err(failed("cannot become server.run_as_user"))?;
        // It must not be possible to become root again.
        if !user.uid.is_root() && (geteuid() != user.uid || setuid(Uid::from_raw(0)).is_ok()) {
            return Err("root's rights could be taken back".to_owned());
        }
    }
    Ok(())
}

/// Checks that `jail` has the necessary files.
pub(crate) fn furnished(jail: &Path) -> Result<(), String> {
    let lacks: Vec<_> = RESOLVER.into_iter().filter(|file| !jail.join(file).is_file()).collect();
    if lacks.is_empty() {
        return Ok(());
    }
    let (jail, lacks) = (jail.display(), lacks.join(", "));
    Err(format!("server.chroot: {jail} lacks {lacks}, which names need"))
}

fn enter(jail: &Path) -> Result<(), String> {
    furnished(jail)?;
    let shown = jail.display();
    // glibc loads its libraries at the first lookup.
    let _ = ("localhost", 0).to_socket_addrs();
    chroot(jail)
        .and_then(|()| chdir("/"))
        .map_err(|error| format!("server.chroot: cannot change the root to {shown}: {error}"))
}
