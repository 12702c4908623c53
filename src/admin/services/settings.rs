//! Replicated settings by name.

use crate::admin::error::{AdminError, Kind};
use crate::admin::service::{Call, Service};
use crate::central::VendorRoot;
use crate::license::{self, Command};
use crate::proto::admin::*;
use tonic::{Request, Response, Status};

/// Longest name and password for a proxy, in bytes.
const MAX_LOGIN: usize = 256;

/// Writes a value into the settings, or says why it cannot.
type Set = fn(&mut license::Settings, &str) -> Result<(), String>;

/// A setting: how it is read and, unless a verb of the cluster does that, written.
struct Key {
    name: &'static str,
    description: &'static str,
    get: fn(&license::Settings) -> String,
    set: Option<Set>,
}

/// `NAME:PASSWORD` for the proxy, which is kept sealed.
const PROXY_LOGIN: &str = "proxy-login";

const KEYS: [Key; 12] = [
    Key {
        name: "host-common-name",
        description: "name in the server certificate: the virtual address or an FQDN, as in the products' URL",
        get: |s| s.host_common_name.clone(),
        set: Some(|s, v| {
            s.host_common_name = v.to_owned();
            Ok(())
        }),
    },
    Key {
        name: "central-url",
        description: "base URL of the vendor's central service; empty when only files are used",
        get: |s| s.central_url.clone(),
        set: Some(set_central_url),
    },
    Key {
        name: "proxy",
        description: "HTTP proxy on the way to central, as in http://proxy.example.com:3128; empty without one",
        get: |s| s.proxy.clone(),
        set: Some(set_proxy),
    },
    Key {
        name: PROXY_LOGIN,
        description: "NAME:PASSWORD for that proxy, best from a file as @FILE; kept sealed and never shown; empty without one",
        get: |s| s.proxy_login.as_ref().map(|_| "set".to_owned()).unwrap_or_default(),
        // Needs the sealing key.
        set: None,
    },
    Key {
        name: "vendor-root",
        description: "the vendor root certificate, set from a PEM file as @FILE and shown as its SHA-256 fingerprint",
        get: |s| VendorRoot::from_pem(s.vendor_root.as_bytes()).map(|r| r.fingerprint()).unwrap_or_default(),
        set: Some(|s, v| {
            s.vendor_root = VendorRoot::from_pem(v.as_bytes()).map_err(|e| e.to_string())?.pem();
            Ok(())
        }),
    },
    Key {
        name: "message-of-the-day",
        description: "shown on the sign-in page and on every page after it, at most 500 characters; empty without one",
        get: |s| s.message_of_the_day.clone(),
        set: Some(|s, v| {
            s.message_of_the_day = v.replace("\r\n", "\n");
            Ok(())
        }),
    },
    Key {
        name: "vip",
        description: "virtual addresses; changed by `licraft ha deploy`",
        get: |s| s.vip.join(","),
        set: None,
    },
    Key {
        name: "heartbeat-ms",
        description: "Raft heartbeat interval",
        get: |s| s.heartbeat_ms.to_string(),
        set: Some(|s, v| set_ms(&mut s.heartbeat_ms, v)),
    },
    Key {
        name: "election-min-ms",
        description: "shortest Raft election timeout",
        get: |s| s.election_min_ms.to_string(),
        set: Some(|s, v| set_ms(&mut s.election_min_ms, v)),
    },
    Key {
        name: "election-max-ms",
        description: "longest Raft election timeout; also the lease",
        get: |s| s.election_max_ms.to_string(),
        set: Some(|s, v| set_ms(&mut s.election_max_ms, v)),
    },
    Key {
        name: "min-password-bytes",
        description: "shorter passwords are not taken",
        get: |s| s.min_password_bytes.to_string(),
        set: Some(|s, v| {
            s.min_password_bytes = v.parse().map_err(|_| "it must be a number of bytes".to_owned())?;
            Ok(())
        }),
    },
    Key {
        name: "licenses-expiring-days",
        description: "so many days before the end of a term an alert says so",
        get: |s| s.licenses_expiring_days.to_string(),
        set: Some(|s, v| {
            s.licenses_expiring_days = v.parse().map_err(|_| "it must be a number of days".to_owned())?;
            Ok(())
        }),
    },
];

#[tonic::async_trait]
impl settings_server::Settings for Service {
    async fn get(&self, request: Request<GetSettingsRequest>) -> Result<Response<GetSettingsReply>, Status> {
        let state = self.state();
        let one = |key: &Key| Setting {
            key: key.name.to_owned(),
            value: (key.get)(state.settings()),
            description: key.description.to_owned(),
        };
        let settings = match request.get_ref().key.as_str() {
            "" => KEYS.iter().map(one).collect(),
            name => vec![one(find(name)?)],
        };
        Ok(Response::new(GetSettingsReply { settings }))
    }

    async fn set(&self, request: Request<SetSettingRequest>) -> Result<Response<Changed>, Status> {
        let (call, asked) = Call::split(request)?;
        let key = find(&asked.key)?;
        if key.name == PROXY_LOGIN {
            let proxy_login = self.sealed_login(asked.value.trim())?;
            let settings = license::Settings { proxy_login, ..self.state().settings().clone() };
            return Ok(Response::new(Changed { id: self.change(&call, Command::SetSettings { settings }).await? }));
        }
        let set = key.set.ok_or_else(|| {
            AdminError::new(Kind::Invalid, format!("`{}` cannot be set here", key.name)).hint(key.description)
        })?;
        let mut settings = self.state().settings().clone();
        set(&mut settings, asked.value.trim()).map_err(|why| {
            AdminError::new(Kind::Invalid, format!("`{}` cannot be `{}`", key.name, asked.value)).because(why)
        })?;
        Ok(Response::new(Changed { id: self.change(&call, Command::SetSettings { settings }).await? }))
    }
}

impl Service {
    fn sealed_login(&self, login: &str) -> Result<Option<license::Sealed>, AdminError> {
        if login.is_empty() {
            return Ok(None);
        }
        // A name has no colon (RFC 7617, section 2).
        let named = login.split_once(':').is_some_and(|(name, _)| !name.is_empty());
        if !named || login.len() > MAX_LOGIN || login.chars().any(char::is_control) {
            // Without what was given: it holds a password.
            return Err(AdminError::new(Kind::Invalid, format!("`{PROXY_LOGIN}` cannot be that")).because(format!(
                "it must be NAME:PASSWORD on one line, of at most {MAX_LOGIN} bytes and with no colon in the name"
            )));
        }
        let sealer = self.need_sealer()?;
        Ok(Some(sealer.seal(license::Settings::PROXY_LOGIN_CONTEXT, login.as_bytes())))
    }
}

fn find(name: &str) -> Result<&'static Key, AdminError> {
    KEYS.iter().find(|k| k.name == name).ok_or_else(|| {
        let nearest = KEYS
            .iter()
            .max_by(|a, b| strsim::jaro_winkler(a.name, name).total_cmp(&strsim::jaro_winkler(b.name, name)));
        AdminError::new(Kind::NotFound, format!("there is no setting `{name}`"))
            .hint(format!("`{}`? `licraft settings get` shows all", nearest.map_or("", |k| k.name)))
    })
}

fn set_ms(field: &mut u64, value: &str) -> Result<(), String> {
    *field = value.parse().map_err(|_| "it must be a number of milliseconds".to_owned())?;
    Ok(())
}

fn set_proxy(settings: &mut license::Settings, value: &str) -> Result<(), String> {
    if !value.is_empty() {
        let url = url::Url::parse(value).map_err(|e| format!("{e}; write it as http://proxy.example.com:3128"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "it must not hold a name or a password: it is shown and logged; set these as `proxy-login`".into()
            );
        }
        if url.scheme() != "http" || url.host().is_none() || url.path() != "/" || url.query().is_some() {
            return Err("it must be an http URL of a host and its port, as in http://proxy.example.com:3128".into());
        }
    }
    settings.proxy = value.to_owned();
    Ok(())
}

fn set_central_url(settings: &mut license::Settings, value: &str) -> Result<(), String> {
    if !value.is_empty() {
        let url = url::Url::parse(value).map_err(|e| e.to_string())?;
        if url.scheme() != "https" || url.host().is_none() {
            return Err("it must be an https URL, as in https://central.example.com:8444".into());
        }
    }
    settings.central_url = value.to_owned();
    Ok(())
}
