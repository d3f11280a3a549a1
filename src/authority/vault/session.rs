//! Who asks: logins, the tokens that they give, and what becomes of these in the end.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::answer::{Answer, Auth, Entry};
use super::environment::{self, Target};
use super::http::{Call, Client, Fault, identity};
use super::order::{Login, Place};
use crate::regular_file;
use crate::secret::Secret;

/// A password or a token is a line; a larger file is something else.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// A login that went well.
pub(super) struct Session {
    pub(super) client: Client,
    /// None where an agent adds its own.
    token: Option<Secret>,
    /// Whether the token was made for this run, and is of no use after it.
    is_ours: bool,
}

/// The sessions of a run, by who logged in, or why they did not.
pub(super) type Sessions<'a> = BTreeMap<&'a Login, Result<Session, String>>;

/// Logs everybody in. A Vault that is not there is asked once.
pub(super) async fn open<'a>(
    logins: impl IntoIterator<Item = &'a Login>,
    target: &Target,
    client: &Client,
    directory: &Path,
) -> Sessions<'a> {
    let mut sessions = Sessions::new();
    let mut gone: Option<String> = None;
    for login in logins {
        if sessions.contains_key(login) {
            continue;
        }
        let session = match &gone {
            Some(why) => Err(why.clone()),
            None => log_in(login, target, client, directory)
                .await
                .map_err(|fault| {
                    gone = fault.is_gone.then(|| fault.words.clone());
                    fault.words
                }),
        };
        sessions.insert(login, session);
    }
    sessions
}

/// Has the tokens forgotten that were made for this run; what is told of those that were not.
pub(super) async fn close(sessions: Sessions<'_>) -> Vec<String> {
    let mut remarks = Vec::new();
    for (login, session) in sessions {
        let Ok(session) = session else { continue };
        if !session.is_ours {
            continue;
        }
        let path = ["auth", "token", "revoke-self"];
        let call = Call::post(&path, session.token(), &json!({}));
        if let Err(fault) = session.client.send(&call).await {
            let why = fault.words;
            remarks.push(format!(
                "Vault: the token of this run, {login}, was not revoked and ends by itself: {why}"
            ));
        }
    }
    remarks
}

impl Session {
    pub(super) const fn token(&self) -> Option<&Secret> {
        self.token.as_ref()
    }

    /// What lies at a path.
    pub(super) async fn read(&self, path: &[&str]) -> Result<Value, Fault> {
        let call = Call::get(path, self.token());
        let answer: Answer<Value> = self.client.json(&call).await?;
        Ok(answer.data)
    }
}

async fn log_in(
    login: &Login,
    target: &Target,
    client: &Client,
    directory: &Path,
) -> Result<Session, Fault> {
    let secret = |place: &Place| secret(place, directory);
    let given = |token: Option<Secret>| Session {
        client: client.clone(),
        token,
        is_ours: false,
    };
    match login {
        Login::User {
            mount,
            user,
            password,
        } => {
            let password = secret(password)?;
            let body = json!({"password": password.expose_text()});
            let path = ["auth", mount, "login", user];
            entry(client, &path, &body, &[&password]).await
        }
        Login::AppRole {
            mount,
            role_id,
            secret_id,
        } => {
            let role_id = secret(role_id)?;
            let secret_id = secret_id.as_ref().map(secret).transpose()?;
            let mut body = json!({"role_id": role_id.expose_text()});
            let mut hidden = vec![&role_id];
            if let Some(secret_id) = &secret_id {
                body["secret_id"] = json!(secret_id.expose_text());
                hidden.push(secret_id);
            }
            entry(client, &["auth", mount, "login"], &body, &hidden).await
        }
        Login::Certificate {
            mount,
            certificate,
            key,
        } => {
            let pem = identity(&directory.join(certificate), &directory.join(key));
            let pem = pem.map_err(|error| Fault::here(error.to_string()))?;
            let client = Client::new(target, Some(&pem)).map_err(|error| {
                let (certificate, key) = (certificate.display(), key.display());
                Fault::here(format!("`{certificate}` and `{key}`: {error}"))
            })?;
            entry(&client, &["auth", mount, "login"], &json!({}), &[]).await
        }
        Login::Token(place) => Ok(given(Some(secret(place)?))),
        Login::Usual => match environment::token().map_err(Fault::here)? {
            Some(token) => Ok(given(Some(token))),
            None if target.address.is_of_this_machine() => Ok(given(None)),
            None => Err(Fault::here(format!(
                "no token: set `{}`, or log in by `vault login`, or say in `[pki.vault]` who logs in",
                environment::TOKEN
            ))),
        },
    }
}

async fn entry(
    client: &Client,
    path: &[&str],
    body: &Value,
    hidden: &[&Secret],
) -> Result<Session, Fault> {
    let call = Call::post(path, None, body).hiding(hidden.iter().copied());
    let entry: Entry = client.json(&call).await?;
    let Auth {
        client_token,
        token_type,
        mfa_requirement,
    } = entry.auth;
    let asked = path.join("/");
    if client_token.is_none() && mfa_requirement.is_some_and(|it| !it.is_null()) {
        return Err(Fault::here(format!(
            "`{asked}` asks for a second factor (MFA), which kinstall cannot show: log in by \
             `vault login` and let kinstall use that token, or let an AppRole log in"
        )));
    }
    let none = || Fault::here(format!("`{asked}`: its answer has no token"));
    Ok(Session {
        client: client.clone(),
        token: Some(client_token.ok_or_else(none)?),
        // Batch tokens are not kept by Vault: there is nothing to revoke.
        is_ours: token_type != "batch",
    })
}

/// A secret from where it is, without the end of its line.
fn secret(place: &Place, directory: &Path) -> Result<Secret, Fault> {
    let bytes = match place {
        Place::Environment(name) => {
            let text = std::env::var(name);
            let none = |_| Fault::here(format!("the environment has no text in `{name}`"));
            text.map_err(none)?.into_bytes()
        }
        Place::File(path) => {
            let path = directory.join(path);
            regular_file::read(&path, SECRET_BYTES_MAX)
                .map_err(|error| Fault::here(error.to_string()))?
        }
    };
    let none = || Fault::here(format!("{place} holds no line of text"));
    environment::line(&Secret::new(bytes)).ok_or_else(none)
}
