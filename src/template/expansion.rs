//! How far a template expands, counted before it is rendered: handlebars follows templates that
//! include each other until the stack ends, and has no limit on loops.

use std::collections::BTreeMap;

use handlebars::Template;
use handlebars::template::{
    DecoratorTemplate, HelperTemplate, Parameter, TemplateElement as Element, TemplateMapping,
};

use super::{BadText, Override};

/// The most steps that rendering a text may take.
const STEPS_MAX: u64 = 1_000_000;
/// How long a list is taken to be that is gone through: longer than most, for a list in a list.
const LIST_LENGTH: u64 = 100;
/// The most bytes that the blocks given to partials may come to: they are held in memory.
const BLOCK_BYTES_MAX: u64 = 1 << 20;
/// The most blocks that a text may have, and the most parentheses.
const BLOCKS_MAX: usize = 100;
const PARENTHESES_MAX: usize = 200;
/// How deep blocks and what is included may lie in each other: rendering recurses.
const DEPTH_MAX: usize = 100;

/// The names that a partial's block and an inline partial go by.
const BLOCK: &str = "@partial-block";
const INLINE: &str = "inline";

/// A text that is included by name; one of kinstall's own has no file.
#[derive(Clone, Copy)]
pub(super) struct Piece<'a> {
    pub(super) template: &'a Template,
    pub(super) file: Option<&'a Override>,
}

/// Refuses a text with more blocks or parentheses than the stack has room for, should they lie in
/// each other: the parser recurses. All are counted, wherever they are, so that nothing hides one.
pub(super) fn check_parts(own: &Override) -> Result<(), BadText> {
    let text = own.text.as_str();
    let begins_block = |(at, open): &(usize, &str)| {
        let tag =
            text[at + open.len()..].trim_start_matches(|it: char| it == '~' || it.is_whitespace());
        tag.starts_with(['#', '^'])
    };
    let mut blocks = text.match_indices("{{").filter(begins_block);
    let mut parentheses = text.match_indices('(');
    let too_many = |at: Option<(usize, &str)>, max: usize, what: &str| match at {
        None => Ok(()),
        Some((at, _)) => {
            let line = text[..at].matches('\n').count() + 1;
            let column = at - text[..at].rfind('\n').map_or(0, |end| end + 1) + 1;
            let message = format!("it holds more than {max} {what}");
            Err(BadText::new(&own.file, &message).seen(own, Some((line, column))))
        }
    };
    too_many(blocks.nth(BLOCKS_MAX), BLOCKS_MAX, "blocks")?;
    too_many(
        parentheses.nth(PARENTHESES_MAX),
        PARENTHESES_MAX,
        "parentheses",
    )
}

/// Refuses a text that expands without end, or too far.
pub(super) fn check<'a>(
    name: &str,
    piece: Piece<'a>,
    partials: &BTreeMap<&str, Piece<'a>>,
) -> Result<(), BadText> {
    let mut walk = Walk {
        pieces: partials
            .iter()
            .map(|(name, piece)| ((*name).to_owned(), vec![*piece]))
            .collect(),
        chain: vec![name.to_owned()],
        blocks: Vec::new(),
        open_blocks: 0,
        depth: 0,
        steps: 0,
        held_bytes: 0,
    };
    for piece in partials.values().chain([&piece]) {
        walk.collect_inline(*piece);
    }
    walk.follow(piece, 1)
}

/// A walk through everything that would be rendered.
struct Walk<'a> {
    pieces: BTreeMap<String, Vec<Piece<'a>>>,
    /// The names that led here.
    chain: Vec<String>,
    /// How many bytes the block comes to that was given to each partial that led here.
    blocks: Vec<Option<u64>>,
    /// How many blocks are being rendered for partials now.
    open_blocks: usize,
    depth: usize,
    steps: u64,
    /// The bytes of all such blocks.
    held_bytes: u64,
}

impl<'a> Walk<'a> {
    /// Inline partials are known by name wherever they are defined.
    fn collect_inline(&mut self, piece: Piece<'a>) {
        for element in &piece.template.elements {
            match element {
                Element::DecoratorBlock(it) | Element::PartialBlock(it) => {
                    let Some(template) = &it.template else {
                        continue;
                    };
                    let inner = Piece { template, ..piece };
                    if let (Some(INLINE), Some(Parameter::Literal(name))) =
                        (it.name.as_name(), it.params.first())
                    {
                        let name = name.as_str().unwrap_or_default().to_owned();
                        self.pieces.entry(name).or_default().push(inner);
                    }
                    self.collect_inline(inner);
                }
                Element::HelperBlock(it) => {
                    for template in it.template.iter().chain(&it.inverse) {
                        self.collect_inline(Piece { template, ..piece });
                    }
                }
                _ => {}
            }
        }
    }

    fn follow(&mut self, piece: Piece<'a>, times: u64) -> Result<(), BadText> {
        let places = piece
            .template
            .mapping
            .iter()
            .map(Some)
            .chain(std::iter::repeat(None));
        for (element, place) in piece.template.elements.iter().zip(places) {
            let bytes = match element {
                Element::RawString(text) => text.len() as u64,
                _ => 0,
            };
            self.count(piece, place, times, bytes)?;
            self.depth += 1;
            match element {
                Element::HelperBlock(it) => self.helper(piece, it, times)?,
                Element::PartialExpression(it) | Element::PartialBlock(it) => {
                    self.include(piece, place, it, times)?;
                }
                _ => {}
            }
            self.depth -= 1;
        }
        Ok(())
    }

    /// Counts a step that is taken so often, and what it writes each time.
    fn count(
        &mut self,
        piece: Piece<'_>,
        place: Option<&TemplateMapping>,
        times: u64,
        bytes: u64,
    ) -> Result<(), BadText> {
        self.steps = self.steps.saturating_add(times);
        // What goes to no block goes to the text, which has a limit of its own.
        if self.open_blocks > 0 {
            let bytes = times.saturating_mul(bytes);
            self.held_bytes = self.held_bytes.saturating_add(bytes);
        }
        let too_deep = self.depth > DEPTH_MAX;
        if too_deep || self.steps > STEPS_MAX || self.held_bytes > BLOCK_BYTES_MAX {
            let message = format!("it expands too far: {}", self.chain.join(" -> "));
            return Err(refusal(piece, place, &message));
        }
        Ok(())
    }

    fn helper(
        &mut self,
        piece: Piece<'a>,
        helper: &'a HelperTemplate,
        times: u64,
    ) -> Result<(), BadText> {
        let often = match helper.name.as_name() {
            Some("if" | "unless" | "with" | "raw") => times,
            _ => times.saturating_mul(LIST_LENGTH),
        };
        if let Some(template) = &helper.template {
            self.follow(Piece { template, ..piece }, often)?;
        }
        if let Some(template) = &helper.inverse {
            self.follow(Piece { template, ..piece }, times)?;
        }
        Ok(())
    }

    fn include(
        &mut self,
        piece: Piece<'a>,
        place: Option<&TemplateMapping>,
        partial: &'a DecoratorTemplate,
        times: u64,
    ) -> Result<(), BadText> {
        let Some(name) = partial.name.as_name() else {
            let message = "the name of what it includes is not written out";
            return Err(refusal(piece, place, message));
        };
        let block = partial.template.as_ref();
        let block = block.map(|template| Piece { template, ..piece });
        if name == BLOCK {
            return match (self.blocks.last().copied().flatten(), block) {
                (Some(bytes), _) => self.count(piece, place, times, bytes),
                (None, Some(fallback)) => self.follow(fallback, times),
                (None, None) => Ok(()),
            };
        }
        if self.chain.iter().any(|it| it == name) {
            let chain = self.chain.join(" -> ");
            let message = format!("it includes itself without end: {chain} -> {name}");
            return Err(refusal(piece, place, &message));
        }
        // handlebars renders the block first, once, whether or not the partial asks for it.
        let given = match block {
            Some(block) => {
                let before = self.held_bytes;
                self.open_blocks += 1;
                self.follow(block, times)?;
                self.open_blocks -= 1;
                Some((self.held_bytes - before) / times.max(1))
            }
            None => None,
        };
        self.chain.push(name.to_owned());
        self.blocks.push(given);
        for part in self.pieces.get(name).cloned().unwrap_or_default() {
            self.follow(part, times)?;
        }
        self.blocks.pop();
        self.chain.pop();
        Ok(())
    }
}

/// At a place of a file of the user's; kinstall's own texts include nothing without end.
fn refusal(piece: Piece<'_>, place: Option<&TemplateMapping>, message: &str) -> BadText {
    match piece.file {
        Some(own) => {
            let place = place.map(|it| (it.0, it.1));
            BadText::new(&own.file, message).seen(own, place)
        }
        None => BadText::new("templates", message),
    }
}
