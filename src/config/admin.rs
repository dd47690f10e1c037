//! The admin endpoint: as written, read from the tree, and what it means.
//!
//! A file with the token in it is read by whoever starts the endpoint, not here.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use super::file::OrFalse;
use super::limits::TOKEN_BYTES;
use super::problem::{Place, Report};
use super::tree::{Fields, Node};
use super::{Address, Bind, Listener, value};

/// Where ringway is asked and told things while it runs.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Admin", deny_unknown_fields)]
pub(super) struct AdminFile {
    /// `unix:/PATH` (who may open it is for the file system to say) or `IP:PORT`; other addresses
    /// than loopback need a token.
    pub(super) bind: String,
    /// What whoever asks must show: `Authorization: Bearer TOKEN`.
    #[schemars(length(min = TOKEN_BYTES.min, max = TOKEN_BYTES.max))]
    pub(super) token: Option<String>,
    /// Absolute path of a file that has the token in it; read at the start.
    pub(super) token_file: Option<String>,
}

/// Where ringway is asked and told things while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// The address it listens on.
    pub bind: Address,
    /// What whoever asks must show.
    pub token: Option<AdminToken>,
    /// Where somebody has that port already, any other will do.
    pub or_any_port: bool,
}

/// Where the token stands.
#[derive(Clone, PartialEq, Eq)]
pub enum AdminToken {
    /// In the configuration.
    Text(String),
    /// In a file of its own.
    File(PathBuf),
}

/// Without the secret.
impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(***)"),
            Self::File(path) => write!(f, "File({})", path.display()),
        }
    }
}

impl Admin {
    /// At this address, with the token of what it takes the place of.
    ///
    /// # Errors
    /// What is wrong with the address, and what is allowed.
    pub fn at(written: &str, before: Option<Self>) -> Result<Self, String> {
        let bind = value::listen_address(written)?;
        let token = before.and_then(|before| before.token);
        let admin = Self { bind, token, or_any_port: false };
        admin.guarded()
    }

    /// Who can reach it from elsewhere must show a token.
    fn guarded(self) -> Result<Self, String> {
        match &self.bind {
            Address::Tcp(address)
                if self.token.is_none() && !address.ip().to_canonical().is_loopback() =>
            {
                let others = "an address of 127.0.0.0/8, [::1] or unix:/PATH";
                Err(format!("{address} needs a token; allowed without one is {others}"))
            }
            _ => Ok(self),
        }
    }

    /// Whether that can be a token, wherever it stands.
    ///
    /// # Errors
    /// What is allowed.
    pub fn check_token(written: &str) -> Result<(), String> {
        let length = u32::try_from(written.len()).unwrap_or(u32::MAX);
        let (min, max) = (TOKEN_BYTES.min, TOKEN_BYTES.max);
        if (min..=max).contains(&length) && written.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(());
        }
        Err(format!("must be {min} to {max} printable ASCII characters without spaces"))
    }
}

pub(super) fn read(node: &Node, place: &Place, report: &mut Report) -> Option<AdminFile> {
    if let Node::Object(_) = node {
        let mut fields = Fields::open(node, place.clone(), report)?;
        let admin = AdminFile {
            bind: fields.required_text("bind", report),
            token: fields.text("token", report),
            token_file: fields.text("token_file", report),
        };
        fields.finish(report);
        return Some(admin);
    }
    report.unreadable(place, format!("must be false or an object, is {node}"));
    None
}

pub(super) fn resolve(
    written: &OrFalse<AdminFile>,
    listeners: &[Listener],
    place: &Place,
    report: &mut Report,
) -> Option<Admin> {
    let OrFalse::Set(written) = written else { return None };
    let token = token(written, place, report);
    let place = place.key("bind");
    let admin = value::listen_address(&written.bind).and_then(|bind| {
        let has_port = !matches!(&bind, Address::Tcp(address) if address.port() == 0);
        let at = Bind::At(bind.clone());
        let mut taken = listeners.iter().filter(|listener| listener.bind.contains(&at));
        if let Some(listener) = taken.next().filter(|_| has_port) {
            return Err(format!("{bind} is already listener {}'s", listener.name));
        }
        Admin { bind, token, or_any_port: false }.guarded()
    });
    admin.map_err(|message| report.problem(&place, message)).ok()
}

fn token(written: &AdminFile, place: &Place, report: &mut Report) -> Option<AdminToken> {
    let AdminFile { token, token_file, .. } = written;
    if token.is_some() && token_file.is_some() {
        report.problem(&place.key("token_file"), "cannot be set beside \"token\"");
    }
    if let Some(token) = token {
        if let Err(message) = Admin::check_token(token) {
            report.problem(&place.key("token"), message);
        }
        return Some(AdminToken::Text(token.clone()));
    }
    let path = token_file.as_deref()?;
    if !path.starts_with('/') || path.contains('\0') {
        let message = format!("must be an absolute path, is {path:?}");
        report.problem(&place.key("token_file"), message);
    }
    Some(AdminToken::File(path.into()))
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn admin(written: &str) -> Result<Option<Admin>, String> {
        let listeners = r#"[{ "name": "web", "bind": ["127.0.0.1:80", "unix:/run/web.sock"] }]"#;
        let pools = r#"{ "a": { "servers": ["10.0.0.1:1"] } }"#;
        let file =
            format!(r#"{{ "listeners": {listeners}, "pools": {pools}, "admin": {written} }}"#);
        parse(&file).map(|checked| checked.config.admin).map_err(|problems| problems.to_string())
    }

    #[test]
    fn loopback_and_unix_sockets_need_no_token_and_others_do() {
        assert_eq!(admin("false"), Ok(None));
        for bind in ["127.0.0.1:9080", "127.8.0.1:0", "[::1]:9080", "unix:/run/admin.sock"] {
            let found = admin(&format!(r#"{{ "bind": "{bind}" }}"#)).unwrap().unwrap();
            assert_eq!((found.bind.to_string().as_str(), found.token), (bind, None));
        }
        for bind in ["0.0.0.0:9080", "[::]:9080", "10.0.0.1:9080"] {
            let problem = admin(&format!(r#"{{ "bind": "{bind}" }}"#)).unwrap_err();
            let expected = format!("admin.bind: {bind} needs a token; allowed without one is ");
            assert!(problem.starts_with(&expected), "{problem}");
            let token = "0123456789abcdef";
            let found = admin(&format!(r#"{{ "bind": "{bind}", "token": "{token}" }}"#)).unwrap();
            assert_eq!(found.unwrap().token, Some(AdminToken::Text(token.to_owned())));
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let rows = [
            ("true", "admin: must be false or an object, is true"),
            ("{}", "admin.bind: is missing"),
            (r#"{ "bind": "9080" }"#, "admin.bind: must be IP:PORT, [IPv6]:PORT or unix:/PATH"),
            (r#"{ "bind": "127.0.0.1:80" }"#, "admin.bind: 127.0.0.1:80 is already listener web's"),
            (r#"{ "bind": "unix:/run/web.sock" }"#, "is already listener web's"),
            (r#"{ "bind": "[::1]:1", "token": "short" }"#, "admin.token: must be 16 to 256 "),
            (
                r#"{ "bind": "[::1]:1", "token_file": "x" }"#,
                "admin.token_file: must be an absolute",
            ),
            (r#"{ "bind": "[::1]:1", "tokn": "x" }"#, "did you mean \"token\"?"),
            (
                r#"{ "bind": "[::1]:1", "token": "0123456789abcdef", "token_file": "/x" }"#,
                "admin.token_file: cannot be set beside \"token\"",
            ),
        ];
        for (written, expected) in rows {
            let problem = admin(written).unwrap_err();
            assert!(problem.contains(expected), "{written}: {problem}");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", AdminToken::Text("secret".to_owned())), "Text(***)");
    }
}
