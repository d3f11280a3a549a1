//! Which proxy a request goes through, and which variable says so.
//!
//! The rules are reqwest's own: [`Matcher`] is what it asks. What is told beside them is what it passes over in
//! silence: the name of the variable, and a value that is no URL, which it would ignore or take for another one.

use std::fmt;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;

/// The variables in the order in which reqwest takes them: the first that is set counts, even if it is empty.
const HTTP: [&str; 2] = ["HTTP_PROXY", "http_proxy"];
const HTTPS: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
const ALL: [&str; 2] = ["ALL_PROXY", "all_proxy"];
const NO: [&str; 2] = ["NO_PROXY", "no_proxy"];
/// Where it is set this is a CGI script, and `HTTP_PROXY` may be a header of a request: reqwest uses no proxy then.
const CGI: &str = "REQUEST_METHOD";

/// A proxy that a request goes through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Its address, without user and password.
    address: String,
    /// The variable that names it.
    variable: &'static str,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the proxy {} (`{}`)", self.address, self.variable)
    }
}

/// A variable that would name a proxy and does not. Its value is not shown: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{variable}` names no proxy: {why}")]
pub struct BadProxy {
    /// The variable.
    variable: &'static str,
    /// What is wrong with its value.
    why: &'static str,
}

/// The proxy of a request to a URL, by the environment of this process.
pub(super) fn of(url: &Url) -> Result<Option<Proxy>, BadProxy> {
    chosen(url, |name| std::env::var(name).ok())
}

fn chosen(url: &Url, variable: impl Fn(&str) -> Option<String>) -> Result<Option<Proxy>, BadProxy> {
    let first = |names: [&'static str; 2]| {
        let set = names
            .into_iter()
            .find_map(|name| Some((name, variable(name)?)));
        set.filter(|(_, value)| !value.trim().is_empty())
    };
    let own = if url.scheme() == "https" { HTTPS } else { HTTP };
    let Some((name, value)) = first(own).or_else(|| first(ALL)) else {
        return Ok(None);
    };
    if variable(CGI).is_some() {
        return Ok(None);
    }
    let no = first(NO).map(|(_, value)| value).unwrap_or_default();
    // Whether this host goes through a proxy at all, whatever stands in the variable.
    let intercepted = |proxy: &str| {
        let matcher = Matcher::builder().all(proxy).no(no.as_str()).build();
        matcher.intercept(&url.as_str().parse().ok()?)
    };
    if intercepted("http://proxy").is_none() {
        return Ok(None);
    }
    let refuse = |why| BadProxy {
        variable: name,
        why,
    };
    check(&value).map_err(refuse)?;
    let proxy = intercepted(&value).ok_or_else(|| refuse(NO_URL))?;
    let address = proxy.uri().to_string().trim_end_matches('/').to_owned();
    Ok(Some(Proxy {
        address,
        variable: name,
    }))
}

const NO_URL: &str = "its value is no URL of the form `http://host:port`";

/// Refuses what reqwest would read as something else than it was meant.
fn check(value: &str) -> Result<(), &'static str> {
    let (scheme, rest) = value.split_once("://").unwrap_or(("http", value));
    match scheme.to_ascii_lowercase().as_str() {
        "http" | "https" => {}
        "socks4" | "socks4a" | "socks5" | "socks5h" => {
            return Err("SOCKS proxies are not supported, only `http://` and `https://` ones");
        }
        _ => return Err(NO_URL),
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let beyond = &rest[authority.len()..];
    if beyond.contains('@') || authority.matches('@').count() > 1 {
        return Err(
            "its user or password holds a character that must be written otherwise in a URL: \
             `@` as `%40`, `#` as `%23`, `/` as `%2F`, `?` as `%3F`, `:` as `%3A`",
        );
    }
    let url = format!("{scheme}://{rest}");
    let parsed = url.parse::<Url>().ok();
    let plain = parsed.is_some_and(|url| url.query().is_none() && url.fragment().is_none());
    if plain { Ok(()) } else { Err(NO_URL) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(url: &str, variables: &[(&str, &str)]) -> Result<Option<Proxy>, BadProxy> {
        let value = |name: &str| {
            let found = variables.iter().find(|(it, _)| *it == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        chosen(&url.parse().unwrap(), value)
    }

    #[track_caller]
    fn check(url: &str, variables: &[(&str, &str)], told: &str) {
        let found = through(url, variables);
        let found = match &found {
            Ok(Some(proxy)) => proxy.to_string(),
            Ok(None) => "none".to_owned(),
            Err(bad) => bad.to_string(),
        };
        assert!(found.starts_with(told), "{variables:?}: {found}");
    }

    #[test]
    fn the_proxy_is_the_one_that_reqwest_takes() {
        let (http, https) = ("http://mirror.home/x", "https://mirror.home/x");
        let one = "http://127.0.0.1:9";
        check(http, &[], "none");
        check(http, &[("http_proxy", "")], "none");
        check(
            http,
            &[("http_proxy", one)],
            "the proxy http://127.0.0.1:9 (`http_proxy`)",
        );
        check(
            http,
            &[("http_proxy", "127.0.0.1:9")],
            "the proxy http://127.0.0.1:9 (",
        );
        check(
            http,
            &[("http_proxy", "http://proxy.home")],
            "the proxy http://proxy.home (",
        );
        check(
            http,
            &[("http_proxy", "http://[::1]:9/")],
            "the proxy http://[::1]:9 (",
        );
        check(https, &[("http_proxy", one)], "none");
        check(
            https,
            &[("HTTPS_PROXY", one)],
            "the proxy http://127.0.0.1:9 (`HTTPS_PROXY`)",
        );
        check(
            https,
            &[("all_proxy", one)],
            "the proxy http://127.0.0.1:9 (`all_proxy`)",
        );
        let both = [("HTTP_PROXY", "http://a:1"), ("http_proxy", "http://b:1")];
        check(http, &both, "the proxy http://a:1 (`HTTP_PROXY`)");
        check(
            http,
            &[("HTTP_PROXY", one), ("REQUEST_METHOD", "GET")],
            "none",
        );
        let secret = [("http_proxy", "http://user:p%40ss@127.0.0.1:9")];
        check(http, &secret, "the proxy http://127.0.0.1:9 (");
    }

    #[test]
    fn a_host_that_needs_no_proxy_has_none_whatever_the_variable_holds() {
        for proxy in ["http://127.0.0.1:9", "socks5://a:1", "http://u:p#w@a"] {
            for no in ["mirror.home", ".home", "*", "10.0.0.0/8, home"] {
                let variables = [("http_proxy", proxy), ("no_proxy", no)];
                check("http://mirror.home/x", &variables, "none");
            }
        }
        let variables = [("http_proxy", "http://a:1"), ("NO_PROXY", "10.0.0.0/8")];
        check("http://10.1.2.3/x", &variables, "none");
        check("http://mirror.home/x", &variables, "the proxy http://a:1");
    }

    #[test]
    fn a_value_that_is_no_url_is_told_without_it() {
        for value in [
            "http://user:p@ss#hush@127.0.0.1:9",
            "http://user:p#hush@127.0.0.1:9",
            "http://user:p@ss@127.0.0.1:9",
            "http://user:p/hush@127.0.0.1:9",
            "http://user:p?hush@127.0.0.1:9",
            "user:p#hush@127.0.0.1:9",
            "socks5://user:hush@127.0.0.1:9",
            "ftp://127.0.0.1:9",
            "http://",
            "http://127.0.0.1:99999",
            "http://127.0.0.1:9#hush",
            "no url",
        ] {
            let bad = through("http://mirror.home/x", &[("http_proxy", value)]).unwrap_err();
            let text = bad.to_string();
            assert!(text.starts_with("`http_proxy` names no proxy: "), "{text}");
            assert!(!text.contains("hush"), "{text}");
        }
    }
}
