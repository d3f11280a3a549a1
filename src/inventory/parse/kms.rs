//! `[encryption.kms]`: a plugin that keeps the key.
//!
//! What kube-apiserver takes in which version is in
//! <https://kubernetes.io/docs/tasks/administer-cluster/kms-provider/>: v1 is deprecated since 1.28
//! and off by default since 1.29, v2 is on by default since 1.27.

use crate::inventory::draft::Field;
use crate::inventory::problem::Problem;
use crate::inventory::settings::{Kms, KmsApi, Provider};
use crate::inventory::table::{At, Found, Table, Value, refuse, shown};
use crate::version::Minor;

const V2_FIRST: Minor = Minor::new(1, 25);
const V2_BY_DEFAULT: Minor = Minor::new(1, 27);
const V1_NO_LONGER_BY_DEFAULT: Minor = Minor::new(1, 29);

/// Reads it, and whether it fits the provider and the version.
pub(super) fn read(
    table: &mut Table<'_>,
    provider: &Field<Provider>,
    kubernetes: Option<Minor>,
    found: &mut Found,
) -> Option<Kms> {
    let asked = provider.this().filter(|it| it.value == Provider::Kms);
    match (asked, table.take("kms")) {
        (None, None) => None,
        (None, Some(value)) => {
            let message = "`[encryption.kms]` says nothing where another provider encrypts";
            let problem = Problem::new(value.key_span, "not used", message);
            refuse(
                found,
                problem.help("write `provider = \"kms\"`, or leave the table out"),
            )
        }
        (Some(asked), None) => {
            let message = "`provider = \"kms\"` wants a table `[encryption.kms]`";
            let help = "write `[encryption.kms]` with `name` and `endpoint` of the plugin";
            refuse(
                found,
                Problem::new(asked.span.clone(), "which?", message).help(help),
            )
        }
        (Some(_), Some(value)) => {
            plugin(value.table("`[encryption.kms]`", found)?, kubernetes, found)
        }
    }
}

fn plugin(mut table: Table<'_>, kubernetes: Option<Minor>, found: &mut Found) -> Option<Kms> {
    let name = table.read_required("name", "name = \"vault\"", found, name);
    let example = "endpoint = \"unix:///run/kms.sock\"";
    let endpoint = table.read_required("endpoint", example, found, endpoint);
    let words = [("v1", KmsApi::V1), ("v2", KmsApi::V2)];
    let api = table.read("api-version", found, |value, found| {
        value.word(&words, &[], found)
    });
    let timeout = table.read("timeout", found, duration);
    let cache_size = table.read("cache-size", found, |value, found| {
        let size = value.integer("keys", 1..=1_000_000, found)?;
        Some(value.at(size))
    });
    let usual = match kubernetes {
        Some(version) if version < V2_BY_DEFAULT => KmsApi::V1,
        _ => KmsApi::V2,
    };
    let (known, _) = api.or_default(usual)?;
    if let (Some(api), Some(version)) = (api.this(), kubernetes) {
        fits(api, version, found);
    }
    if let Some(size) = cache_size.this().filter(|_| known == KmsApi::V2) {
        let message = "`cache-size` is of v1 only: kube-apiserver refuses it beside v2";
        let problem = Problem::new(size.span.clone(), "not with v2", message);
        found.push(problem.help("leave it out"));
    }
    table.finish(found);
    Some(Kms {
        name: name.value()?,
        endpoint: endpoint.value()?,
        api: known,
        timeout: timeout.value(),
        cache_size: cache_size.value(),
    })
}

/// Tells a version of the API that this Kubernetes does not have, or only behind a gate.
fn fits(api: &At<KmsApi>, version: Minor, found: &mut Found) {
    let mut tell = |is_error, message: String, help: &str| {
        let problem = Problem::new(api.span.clone(), "of this API", message).help(help);
        found.push(if is_error { problem } else { problem.warning() });
    };
    match api.value {
        KmsApi::V2 if version < V2_FIRST => tell(
            true,
            format!("Kubernetes {version} has no KMS v2: it came with {V2_FIRST}"),
            "write `api-version = \"v1\"`",
        ),
        KmsApi::V2 if version < V2_BY_DEFAULT => tell(
            false,
            format!("KMS v2 is off by default before {V2_BY_DEFAULT}"),
            "set the flag `feature-gates` of kube-apiserver to `KMSv2=true`",
        ),
        KmsApi::V1 if version >= V1_NO_LONGER_BY_DEFAULT => tell(
            false,
            format!("KMS v1 is off by default since {V1_NO_LONGER_BY_DEFAULT}"),
            "use a plugin of v2, or set the flag `feature-gates` of kube-apiserver to `KMSv1=true`",
        ),
        KmsApi::V1 | KmsApi::V2 => {}
    }
}

/// A name stands between colons in what is stored.
fn name(value: &Value<'_>, found: &mut Found) -> Option<At<String>> {
    let text = value.text(found)?;
    let is_name = !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if !is_name {
        let message = format!("`{}` cannot be a plugin's name", shown(text));
        let help = "write letters, digits, `.`, `_` and `-`";
        return refuse(found, value.problem("not a name", message).help(help));
    }
    Some(value.at(text.to_owned()))
}

fn endpoint(value: &Value<'_>, found: &mut Found) -> Option<At<String>> {
    let text = value.text(found)?;
    let path = text.strip_prefix("unix://").unwrap_or_default();
    // Two slashes and a name are a socket in the abstract: `unix:///@name`.
    let is_path = path.len() > 1
        && path.starts_with('/')
        && path
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"\"'\\#".contains(&byte));
    if !is_path {
        let message = format!("`{}` is not a socket of a plugin", shown(text));
        let help = "kube-apiserver takes a UNIX socket alone: `unix:///run/kms.sock`";
        return refuse(found, value.problem("not a socket", message).help(help));
    }
    Some(value.at(text.to_owned()))
}

fn duration(value: &Value<'_>, found: &mut Found) -> Option<At<String>> {
    let text = value.text(found)?;
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(0));
    let is_duration =
        number.parse().is_ok_and(|number: u32| number > 0) && matches!(unit, "ms" | "s" | "m");
    if !is_duration {
        let message = format!("`{}` is not a duration", shown(text));
        let help = "write it as in `3s`, which is the default";
        return refuse(found, value.problem("not a duration", message).help(help));
    }
    Some(value.at(text.to_owned()))
}
