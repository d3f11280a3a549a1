//! Names that a text asks for and does not have: an error in a condition too, where handlebars takes
//! them for false, and with each the names that there are.

use std::collections::HashMap;

use handlebars::template::{Parameter, Subexpression, TemplateElement as Element};
use handlebars::{
    Context, Handlebars, Helper, HelperResult, Output, RenderContext, RenderErrorReason, Template,
};
use serde_json::Value;

/// The blocks that take what is missing for false or empty.
const BLOCKS: [&str; 4] = ["if", "unless", "with", "each"];
/// What asks whether something is there: no name that a text could give a helper by chance.
const ASK: &str = "kinstall-is-there";
/// How near a name must be to be suggested, from 0 to 1.
const NEARNESS_MIN: f64 = 0.8;

/// Has a registry know how to ask.
pub(super) fn register(registry: &mut Handlebars<'_>) {
    registry.register_helper(ASK, Box::new(ask));
}

fn ask(
    helper: &Helper<'_>,
    _: &Handlebars<'_>,
    _: &Context,
    _: &mut RenderContext<'_, '_>,
    _: &mut dyn Output,
) -> HelperResult {
    let mut asked = helper.params().iter();
    match asked.find(|it| it.is_value_missing()) {
        Some(missing) => {
            let name = missing.relative_path().cloned();
            Err(RenderErrorReason::MissingVariable(name).into())
        }
        None => Ok(()),
    }
}

/// Puts a question before every such block, so that what is missing ends the rendering at its place.
pub(super) fn ask_first(template: &mut Template) {
    let mut at = 0;
    while at < template.elements.len() {
        if let Element::HelperBlock(block) = &mut template.elements[at] {
            let inner = block.template.iter_mut().chain(&mut block.inverse);
            inner.for_each(ask_first);
            let is_one = block.name.as_name().is_some_and(|it| BLOCKS.contains(&it));
            if is_one {
                let name = Parameter::Name(ASK.to_owned());
                let names = names(&block.params).cloned().collect();
                let question = Subexpression::new(name, names, HashMap::new());
                template.elements.insert(at, *question.element);
                if let Some(place) = template.mapping.get(at).cloned() {
                    template.mapping.insert(at, place);
                }
                at += 1;
            }
        }
        if let Element::PartialBlock(it) | Element::DecoratorBlock(it) = &mut template.elements[at]
        {
            it.template.iter_mut().for_each(ask_first);
        }
        at += 1;
    }
}

/// The names in what a block is given, those in parentheses too.
fn names(given: &[Parameter]) -> Box<dyn Iterator<Item = &Parameter> + '_> {
    Box::new(given.iter().flat_map(|it| match it {
        Parameter::Subexpression(inner) => names(inner.params().map_or(&[], Vec::as_slice)),
        it => Box::new(std::iter::once(it).filter(|it| matches!(it, Parameter::Path(_)))),
    }))
}

/// What there is, where a name is missing: what may have been meant, and all names of that level.
pub(super) fn instead(missing: &str, data: &Value) -> String {
    let parts: Vec<&str> = missing.split(['.', '/']).collect();
    let (mut at, mut above) = (data, Vec::new());
    for part in &parts {
        match at.get(part) {
            Some(next) if next.is_object() => {
                at = next;
                above.push(*part);
            }
            _ => break,
        }
    }
    let wanted = parts.get(above.len()).copied().unwrap_or_default();
    let full = |name: &str| format!("`{}`", [&above[..], &[name]].concat().join("."));
    let names: Vec<&String> = at
        .as_object()
        .into_iter()
        .flatten()
        .map(|it| it.0)
        .collect();
    let rated = names
        .iter()
        .map(|name| (strsim::jaro_winkler(wanted, name), name));
    let nearest = rated.max_by(|(a, _), (b, _)| a.total_cmp(b));
    let meant = match nearest {
        Some((score, name)) if score >= NEARNESS_MIN => {
            format!("did you mean {}? There", full(name))
        }
        _ => "there".to_owned(),
    };
    let names: Vec<String> = names.iter().map(|name| full(name)).collect();
    format!(
        "{meant} are {}; ARCHITECTURE.md tells what each of them is",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Error, Known, Override, Overrides, Renderer, Scene};

    fn render(text: &str) -> Result<String, String> {
        let own = Override {
            file: "templates/x.hbs".to_owned(),
            text: text.to_owned(),
            is_template: true,
        };
        let data = json!({
            "node": {"name": "a", "none": [], "null": null},
            "list": [{"x": 1}, {"x": 0}],
        });
        let data = Scene::of(&data).unwrap();
        let rendered = Renderer::default().own(&own, &data);
        rendered.map_err(|error| match error {
            Error::Overrides(bad) => bad.in_words(),
            other @ Error::Render { .. } => other.to_string(),
        })
    }

    #[test]
    fn a_condition_on_what_is_there_is_as_before() {
        for (text, expected) in [
            ("{{#if node.name}}y{{else}}n{{/if}}", "y"),
            ("{{#if node.none}}y{{else}}n{{/if}}", "n"),
            ("{{#if node.null}}y{{else}}n{{/if}}", "n"),
            ("{{#unless node.none}}y{{/unless}}", "y"),
            ("{{#with node}}{{name}}{{else}}n{{/with}}", "a"),
            ("{{#each node.none}}y{{else}}n{{/each}}", "n"),
            (
                "{{#each list}}{{#if x}}{{x}}{{/if}}{{#if @first}},{{/if}}{{/each}}",
                "1,",
            ),
            (
                "{{#each list as |it|}}{{#if it.x}}{{it.x}}{{/if}}{{/each}}",
                "1",
            ),
            ("{{#if (eq node.name \"a\")}}y{{/if}}", "y"),
            ("a\n{{#if node.name}}\nb\n{{/if}}\nc\n", "a\nb\nc\n"),
            ("{{#if node.none}}1{{else if node.name}}2{{/if}}", "2"),
        ] {
            assert_eq!(render(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_condition_on_nothing_is_told_at_its_place_with_the_names_there_are() {
        let node = "there is nothing called `node.nmae`; did you mean `node.name`? There are \
                    `node.name`, `node.none`, `node.null`";
        for text in [
            "#\n {{#if node.nmae}}y{{/if}}",
            "#\n {{#unless node.nmae}}y{{/unless}}",
            "#\n {{#with node.nmae}}y{{else}}n{{/with}}",
            "#\n {{#each node.nmae}}y{{else}}n{{/each}}",
            "#\n {{node.nmae}}",
        ] {
            let told = render(text).unwrap_err();
            let expected = format!("`templates/x.hbs`, line 2, column 2: {node}");
            assert!(told.starts_with(&expected), "{text}: {told}");
        }
        for text in [
            "{{#if node.none}}1{{else if node.nmae}}2{{/if}}",
            "{{#if node.name}}{{#if node.nmae}}2{{/if}}{{/if}}",
            "{{#if (eq node.nmae \"a\")}}y{{/if}}",
            "{{#each list}}{{#if ../node.nmae}}y{{/if}}{{/each}}",
        ] {
            let told = render(text).unwrap_err();
            assert!(told.contains("node.nmae`"), "{text}: {told}");
        }
        let told = render("{{#if misspelt}}y{{/if}}").unwrap_err();
        assert!(
            told.contains("nothing called `misspelt`; there are `list`, `node`;"),
            "{told}"
        );
    }

    #[test]
    fn a_partial_of_the_users_is_asked_as_well() {
        let text = "{{#if service.netwroks}}x{{/if}}";
        let files = [("networks.hbs".to_owned(), text.to_owned())].into();
        let known = Known {
            texts: vec!["partial/networks.hbs"],
            units: vec![],
        };
        let own = Overrides::of("templates", files, &known).unwrap();
        let renderer = Renderer::with(&own).unwrap();
        let data = Scene::of(&json!({"service": {"networks": []}})).unwrap();
        let error = renderer
            .render("unit", "{{> networks}}", &data)
            .unwrap_err();
        let told = error.to_string();
        let expected = "`templates/networks.hbs`, line 1, column 1: there is nothing called \
                        `service.netwroks`";
        assert_eq!(told, expected);
    }
}
