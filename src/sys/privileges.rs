//! Who ringway runs as. Started as root, it becomes the user it is told to before it makes any
//! socket, since a group of SO_REUSEPORT sockets has one owner.
//!
//! Never gains anything. For the time when the process has one thread: capabilities belong to
//! threads, and a new one has those of the thread that makes it.

use std::ffi::CString;
use std::fmt;
use std::io;

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl;
use nix::unistd::{Gid, Group, Uid, User, initgroups, setgroups, setresgid, setresuid};

use crate::config::Account;

/// The one thing an unprivileged user may need: ports below 1024, also after a reload.
const KEPT: Capability = Capability::CAP_NET_BIND_SERVICE;

/// Why ringway cannot run as it is told to.
#[derive(Debug)]
pub struct Refused {
    /// The key of the configuration this is about.
    pub key: &'static str,
    /// In words.
    pub why: io::Error,
}

fn refused(key: &'static str, why: impl fmt::Display) -> Refused {
    Refused { key, why: io::Error::other(why.to_string()) }
}

/// Becomes `user` and `group`, if any is given, and sees to it that no program started from here
/// can have more rights (prctl(2), PR_SET_NO_NEW_PRIVS).
///
/// # Errors
/// Nobody has that name, or this process may not become somebody else.
pub fn assume(user: Option<&Account>, group: Option<&Account>) -> Result<(), Refused> {
    if let Some(user) = user {
        let target = Target::look_up(user, group)?;
        if Uid::effective().is_root() {
            target.become_it().map_err(|why| refused("user", format_args!("{user}: {why}")))?;
        } else {
            target.is_who_we_are(user, group)?;
        }
    }
    prctl::set_no_new_privs().map_err(|why| refused("user", why))
}

/// A user as the kernel knows it.
struct Target {
    uid: Uid,
    gid: Gid,
    /// Where the user database has one; its further groups go with it.
    name: Option<CString>,
}

impl Target {
    fn look_up(user: &Account, group: Option<&Account>) -> Result<Self, Refused> {
        let found = match user {
            Account::Name(name) => User::from_name(name),
            Account::Number(number) => User::from_uid(Uid::from_raw(*number)),
        };
        let found = found.map_err(|why| refused("user", format_args!("{user}: {why}")))?;
        let gid = match group {
            Some(group) => Some(group_number(group)?),
            None => found.as_ref().map(|user| user.gid),
        };
        match (user, found, gid) {
            (_, Some(user), Some(gid)) => {
                let name = CString::new(user.name).map_err(|why| refused("user", why))?;
                Ok(Self { uid: user.uid, gid, name: Some(name) })
            }
            (Account::Name(name), ..) => {
                Err(refused("user", format_args!("there is no user {name:?}")))
            }
            (Account::Number(number), None, Some(gid)) => {
                Ok(Self { uid: Uid::from_raw(*number), gid, name: None })
            }
            (Account::Number(number), ..) => {
                let why = format!("must be set: user {number} has no name here, and so no group");
                Err(refused("group", why))
            }
        }
    }

    /// The order matters: each step takes away what an earlier one needed.
    fn become_it(&self) -> io::Result<()> {
        for capability in caps::runtime::thread_all_supported() {
            // Without CAP_SETPCAP it stays bounded as it is, which gives nothing to anyone.
            let _ = caps::drop(None, CapSet::Bounding, capability);
        }
        // Leaving root would clear what is to be kept.
        prctl::set_keepcaps(true)?;
        match &self.name {
            Some(name) => initgroups(name, self.gid)?,
            None => setgroups(&[self.gid])?,
        }
        setresgid(self.gid, self.gid, self.gid)?;
        setresuid(self.uid, self.uid, self.uid)?;
        prctl::set_keepcaps(false)?;
        keep_one_capability().map_err(io::Error::other)
    }

    fn is_who_we_are(&self, user: &Account, group: Option<&Account>) -> Result<(), Refused> {
        let (uid, gid) = (Uid::effective(), Gid::effective());
        if self.uid != uid {
            let why = format!("only root can become {user}, this is user {uid}");
            return Err(refused("user", why));
        }
        match group {
            Some(group) if self.gid != gid => {
                let why = format!("only root can become {group}, this is group {gid}");
                Err(refused("group", why))
            }
            _ => Ok(()),
        }
    }
}

fn group_number(group: &Account) -> Result<Gid, Refused> {
    let name = match group {
        Account::Name(name) => name,
        Account::Number(number) => return Ok(Gid::from_raw(*number)),
    };
    match Group::from_name(name) {
        Ok(Some(found)) => Ok(found.gid),
        Ok(None) => Err(refused("group", format_args!("there is no group {name:?}"))),
        Err(why) => Err(refused("group", format_args!("{group}: {why}"))),
    }
}

/// Effective first: it may never hold what is no longer permitted.
fn keep_one_capability() -> Result<(), CapsError> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    let kept: CapsHashSet = permitted.into_iter().filter(|&held| held == KEPT).collect();
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    caps::clear(None, CapSet::Inheritable)?;
    caps::clear(None, CapSet::Ambient)
}

/// Whether this thread may do anything.
pub fn is_root() -> bool {
    Uid::effective().is_root()
}

/// What this thread has, for the log.
pub struct Identity {
    /// The user's name, or its number where it has none.
    pub user: String,
    /// By name, or how many where they are more than a few.
    pub capabilities: String,
}

/// Asks the kernel, which a confined thread may not.
pub fn identity() -> Identity {
    let uid = Uid::effective();
    let found = User::from_uid(uid).ok().flatten();
    let user = found.map_or_else(|| uid.to_string(), |user| user.name);
    let effective = caps::read(None, CapSet::Effective).unwrap_or_default();
    let mut names: Vec<_> = effective.iter().map(ToString::to_string).collect();
    names.sort();
    let capabilities = match names.len() {
        0 => "none".to_owned(),
        1..=3 => names.join(",").to_lowercase(),
        many => many.to_string(),
    };
    Identity { user, capabilities }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> Account {
        Account::Name(name.to_owned())
    }

    fn refusal(user: &Account, group: Option<&Account>) -> String {
        match Target::look_up(user, group) {
            Ok(_) => panic!("{user} is known"),
            Err(Refused { key, why }) => format!("{key}: {why}"),
        }
    }

    #[test]
    fn users_and_groups_are_found_by_name_and_number() {
        let root = Target::look_up(&name("root"), None).ok().unwrap();
        assert_eq!((root.uid, root.gid), (Uid::from_raw(0), Gid::from_raw(0)));
        let group = Account::Number(7);
        let nameless = Target::look_up(&Account::Number(123_456), Some(&group)).ok().unwrap();
        assert_eq!((nameless.uid, nameless.gid), (Uid::from_raw(123_456), Gid::from_raw(7)));
        assert!(nameless.name.is_none());
        let by_number = Target::look_up(&Account::Number(0), None).ok().unwrap();
        assert_eq!(by_number.name, Some(CString::from(c"root")));
    }

    #[test]
    fn unknown_ones_are_named_with_their_key() {
        let nobody = name("no-such-user");
        assert_eq!(refusal(&nobody, None), "user: there is no user \"no-such-user\"");
        let no_group = name("no-such-group");
        let said = refusal(&name("root"), Some(&no_group));
        assert_eq!(said, "group: there is no group \"no-such-group\"");
        let said = refusal(&Account::Number(123_456), None);
        assert!(said.starts_with("group: must be set: user 123456"), "{said}");
    }
}
