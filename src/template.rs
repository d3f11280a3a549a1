//! Text from templates: handlebars without its HTML habits, and the quoting of systemd.
//!
//! A template sees a [`Context`] and nothing else. A name that the context does not have is an
//! error, not an empty word.

mod bad;
mod builtin;
mod expansion;
mod known;
mod overrides;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use handlebars::{
    Handlebars, RenderContext, RenderError, RenderErrorReason, Renderable as _, Template,
    WriteOutput, no_escape,
};
use serde::Serialize;

use self::expansion::Piece;

pub use self::bad::BadText;
pub(crate) use self::builtin::builtin;
pub use self::builtin::{Builtin, PARTIALS};
pub use self::overrides::{Known, Override, Overrides};

/// The most bytes that a template may expand to.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// What a text of the user's own goes by while it is rendered: no partial is called so.
const OWN: &str = "the text itself";

/// What every template sees.
#[derive(Debug, Clone, Serialize)]
pub struct Context {
    /// The cluster as a whole.
    pub cluster: ClusterWords,
    /// The node that the text is for.
    pub node: NodeWords,
    /// The etcd cluster, as seen from the node.
    pub etcd: EtcdWords,
    /// The network of Pods, as seen from the node.
    pub pods: PodWords,
    /// The file name without ending of the authority of each set of certificates: where one stands
    /// in for others, they share its file.
    pub authority: BTreeMap<&'static str, &'static str>,
    /// The words of the component that depend on its version.
    pub word: BTreeMap<&'static str, &'static str>,
    /// The service that a unit is for; empty in any other text.
    pub service: ServiceWords,
}

/// What templates see, made ready once for all texts of it.
#[derive(Debug)]
pub struct Scene(handlebars::Context);

impl Scene {
    /// Of a [`Context`], or of whatever a text of kinstall's own is about.
    pub fn of(data: &impl Serialize) -> Result<Self, Error> {
        let scene = handlebars::Context::wraps(data).map(Self);
        scene.map_err(|source| Error::Render {
            name: "the words".to_owned(),
            source: Box::new(source),
        })
    }

    /// Puts other words in one place of it: a node has the same ones for all its components but two.
    pub fn set(&mut self, place: &str, data: &impl Serialize) -> Result<(), Error> {
        let Self(mut words) = Self::of(data)?;
        self.0.data_mut()[place] = std::mem::take(words.data_mut());
        Ok(())
    }
}

/// What stands in a unit, quoted as systemd wants it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ServiceWords {
    /// The path of the program.
    pub program: String,
    /// The arguments, in order.
    pub arguments: Vec<String>,
    /// The environment: `NAME=value`.
    pub environment: Vec<String>,
    /// The networks it may talk to, its own machine included; none where it may talk to anyone.
    pub networks: Vec<String>,
}

/// The cluster as a whole.
#[derive(Debug, Clone, Serialize)]
pub struct ClusterWords {
    /// Its name.
    pub name: String,
    /// Its DNS domain.
    pub domain: String,
    /// The network of Service addresses.
    pub service_cidr: String,
    /// The network of Pod addresses.
    pub pod_cidr: String,
    /// The image that each Pod begins with.
    pub pause_image: String,
    /// The address of the cluster's DNS service.
    pub dns: String,
    /// How kube-proxy leads traffic to Services: its own word.
    pub proxy: &'static str,
}

/// The network of Pods, as seen from a node.
#[derive(Debug, Clone, Serialize)]
pub struct PodWords {
    /// How other nodes' Pods are reached: `routes`, `vxlan`, `none`.
    pub network: &'static str,
    /// The range of the node's own Pods; `-` where it has none.
    pub range: String,
    /// All addresses of the family: `0.0.0.0/0`, `::/0`.
    pub anywhere: &'static str,
    /// Whether the cluster's addresses are of IPv6.
    pub ipv6: bool,
    /// The most bytes of a Pod's packet.
    pub mtu: u32,
    /// The hardware address of the node's end of the tunnel.
    pub mac: String,
}

/// One node.
#[derive(Debug, Clone, Serialize)]
pub struct NodeWords {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
    /// What stands for all addresses of the same family: `0.0.0.0` or `::`.
    pub any_address: String,
    /// The name its etcd certificates are filed under.
    pub etcd_domain: String,
    /// The address of its etcd member as a URL has it: IPv6 in brackets.
    pub etcd_url_host: String,
    /// Whether its kube-proxy serves `NodePort`s on the loopback, too: before 1.26 it cannot do without.
    pub loopback_node_ports: bool,
}

/// The etcd cluster, as seen from a node.
#[derive(Debug, Clone, Serialize)]
pub struct EtcdWords {
    /// The client URLs of all members, that of the node itself first.
    pub servers: String,
    /// All members with their peer URLs, by name.
    pub initial_cluster: String,
    /// Below which key everything is kept.
    pub prefix: String,
    /// Where the member of the node listens for clients: its own address and loopback.
    pub listen_client_urls: String,
}

/// What went wrong with a text.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    /// A template asks for something the context does not have, or is none.
    #[error("the template of `{name}` does not render")]
    Render {
        /// What the text is for.
        name: String,
        /// Why.
        source: Box<RenderError>,
    },
    /// The same of one that the user wrote.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Overrides(Box<BadText>),
}

/// Renders templates: kinstall's, and the user's over them.
#[derive(Debug)]
pub struct Renderer {
    registry: Handlebars<'static>,
    own: Overrides,
    /// The texts that were rendered so far.
    parsed: Mutex<HashMap<String, Arc<Template>>>,
}

impl Default for Renderer {
    fn default() -> Self {
        Self::with(&Overrides::default()).expect("the partials are templates")
    }
}

impl Renderer {
    /// One for which the user's texts stand in the place of kinstall's; the first of the partials
    /// among them that is no template is an error.
    pub fn with(own: &Overrides) -> Result<Self, Error> {
        let mut registry = Handlebars::new();
        registry.set_strict_mode(true);
        registry.register_escape_fn(no_escape);
        known::register(&mut registry);
        for (name, builtin) in PARTIALS {
            let (text, file) = match own.text(builtin.name) {
                Some(own) => (own.text.as_str(), Some(own)),
                None => (builtin.text, None),
            };
            file.map_or(Ok(()), expansion::check_parts)
                .map_err(in_own)?;
            match (registry.register_partial(name, text), file) {
                (Err(error), Some(own)) => return Err(in_own(BadText::unread(own, &error))),
                (Ok(()), Some(_)) => {
                    if let Some(mut template) = registry.get_template(name).cloned() {
                        known::ask_first(&mut template);
                        registry.register_template(name, template);
                    }
                }
                _ => {}
            }
        }
        let renderer = Self {
            registry,
            own: own.clone(),
            parsed: Mutex::default(),
        };
        let partials = renderer.partials();
        for (name, piece) in &partials {
            expansion::check(name, *piece, &partials).map_err(in_own)?;
        }
        Ok(renderer)
    }

    /// What a template can include, by its name.
    fn partials(&self) -> BTreeMap<&'static str, Piece<'_>> {
        let pieces = PARTIALS.iter().filter_map(|(name, builtin)| {
            let template = self.registry.get_template(name)?;
            let file = self.own.text(builtin.name);
            Some((*name, Piece { template, file }))
        });
        pieces.collect()
    }

    /// The text of a template. `name` is what it is for, for messages.
    pub fn render(&self, name: &str, text: &str, scene: &Scene) -> Result<String, Error> {
        // Most texts of the tables are plain, and a plain one needs no parser.
        if !text.contains("{{") {
            return Ok(text.to_owned());
        }
        let rendered = bounded(|to| self.render_to(text, scene, to));
        rendered.map_err(|source| self.error(name, None, source, scene))
    }

    /// Renders a text; it is parsed once, however many nodes it is for.
    fn render_to(&self, text: &str, scene: &Scene, to: &mut Bounded) -> Result<(), RenderError> {
        let template = {
            let mut parsed = self.parsed.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(template) = parsed.get(text) {
                Arc::clone(template)
            } else {
                let template = Template::compile(text).map_err(RenderErrorReason::from)?;
                let template = Arc::new(template);
                parsed.insert(text.to_owned(), Arc::clone(&template));
                template
            }
        };
        let mut output = WriteOutput::new(to);
        template.render(
            &self.registry,
            &scene.0,
            &mut RenderContext::new(None),
            &mut output,
        )
    }

    /// The text that ships under a name, or the one that the user put in its place.
    pub fn builtin(&self, builtin: Builtin, scene: &Scene) -> Result<String, Error> {
        match self.own.text(builtin.name) {
            Some(own) => self.own(own, scene),
            None => self.render(builtin.name, builtin.text, scene),
        }
    }

    /// The text of a file that the user wrote.
    pub fn own(&self, own: &Override, scene: &Scene) -> Result<String, Error> {
        if !own.is_template {
            return Ok(own.text.clone());
        }
        expansion::check_parts(own).map_err(in_own)?;
        let template = Template::compile(&own.text);
        let mut template = template.map_err(|error| in_own(BadText::unread(own, &error)))?;
        let piece = Piece {
            template: &template,
            file: Some(own),
        };
        expansion::check(&own.file, piece, &self.partials()).map_err(in_own)?;
        known::ask_first(&mut template);
        let mut registry = self.registry.clone();
        registry.register_template(OWN, template);
        let rendered = bounded(|to| registry.render_with_context_to_write(OWN, &scene.0, to));
        rendered.map_err(|source| self.error(&own.file, Some(own), source, scene))
    }

    /// Whose mistake it is: that of the partial it is in, if the user wrote that one.
    fn error(
        &self,
        name: &str,
        own: Option<&Override>,
        source: RenderError,
        scene: &Scene,
    ) -> Error {
        let within = source.template_name.as_deref();
        let partial = PARTIALS.iter().find(|(name, _)| Some(*name) == within);
        let at_fault = match partial {
            Some((_, builtin)) => self.own.text(builtin.name),
            None => own,
        };
        match at_fault {
            Some(own) => {
                Error::Overrides(Box::new(BadText::unrendered(own, &source, scene.0.data())))
            }
            None => Error::Render {
                name: name.to_owned(),
                source: Box::new(source),
            },
        }
    }
}

fn in_own(bad: BadText) -> Error {
    Error::Overrides(Box::new(bad))
}

/// A text as it is written, to its limit.
fn bounded(
    write: impl FnOnce(&mut Bounded) -> Result<(), RenderError>,
) -> Result<String, RenderError> {
    let mut bounded = Bounded(Vec::new());
    write(&mut bounded)?;
    Ok(String::from_utf8(bounded.0).map_err(RenderErrorReason::from)?)
}

/// A text that grows to its limit and no further.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > TEXT_BYTES_MAX {
            let why = format!("it expands to more than {TEXT_BYTES_MAX} bytes");
            return Err(io::Error::other(why));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A text that no unit file can hold: it has a character that would end the line or worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{}` cannot stand in a unit file", .0.escape_default())]
pub struct Unquotable(pub char);

/// One argument of a command line, as `ExecStart=` must have it to pass on exactly this text.
///
/// systemd splits the line at white space, takes quotes and backslashes away, puts in specifiers
/// (`%`) and variables (`$`): `systemd.service(5)`, "Command lines".
pub fn exec_argument(text: &str) -> Result<String, Unquotable> {
    quoted(text, true)
}

/// A variable as `Environment=` must have it: the same, but `$` has no meaning there
/// (`systemd.exec(5)`).
pub fn environment_assignment(name: &str, value: &str) -> Result<String, Unquotable> {
    quoted(&format!("{name}={value}"), false)
}

fn quoted(text: &str, variables: bool) -> Result<String, Unquotable> {
    let mut inner = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '%' => inner.push_str("%%"),
            '$' if variables => inner.push_str("$$"),
            '\\' => inner.push_str("\\\\"),
            '"' => inner.push_str("\\\""),
            '\t' => inner.push_str("\\t"),
            char if char.is_control() => return Err(Unquotable(char)),
            char => inner.push(char),
        }
    }
    // Quoting is for white space, quotes and backslashes, for nothing at all, for a `;` that would
    // end the command, and for a `#` or `;` that would make a comment of the line.
    let plain = |byte: u8| !b" \t\"'\\;#".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        Ok(inner)
    } else {
        Ok(format!("\"{inner}\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_survive_systemd() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            assert_eq!(exec_argument(text).as_deref(), Ok(expected));
        }
        check("--name=az1", "--name=az1");
        check("--urls=https://[::1]:2379,b", "--urls=https://[::1]:2379,b");
        check("", "\"\"");
        check("--a=b c", "\"--a=b c\"");
        check("--a=50%", "--a=50%%");
        check("--a=%i$HOME${x}", "--a=%%i$$HOME$${x}");
        check("--a=\"q\"", "\"--a=\\\"q\\\"\"");
        check("--a='q'", "\"--a='q'\"");
        check("--a=\\n", "\"--a=\\\\n\"");
        check("--a=\t", "\"--a=\\t\"");
        check(";", "\";\"");
        check("#x", "\"#x\"");
        check("--a=grün", "--a=grün");
    }

    #[test]
    fn what_would_end_the_line_is_refused() {
        for char in ['\n', '\r', '\0', '\u{7f}', '\u{85}'] {
            assert_eq!(
                exec_argument(&format!("--a={char}--b")),
                Err(Unquotable(char))
            );
        }
        assert_eq!(
            Unquotable('\n').to_string(),
            "`\\n` cannot stand in a unit file"
        );
    }

    #[test]
    fn a_dollar_means_nothing_in_the_environment() {
        assert_eq!(
            environment_assignment("A", "$x 5%").as_deref(),
            Ok("\"A=$x 5%%\"")
        );
    }

    #[test]
    fn a_name_that_is_not_there_is_an_error_and_nothing_is_escaped() {
        let renderer = Renderer::default();
        let data = Scene::of(&serde_json::json!({"a": "<&\"'>"})).unwrap();
        assert_eq!(
            renderer.render("x", "{{a}}", &data).ok().as_deref(),
            Some("<&\"'>")
        );
        for text in ["{{b}}", "{{a.b}}", "{{#each b}}x{{/each}}", "{{> b}}", "{{"] {
            assert!(renderer.render("x", text, &data).is_err(), "{text}");
        }
    }
}
