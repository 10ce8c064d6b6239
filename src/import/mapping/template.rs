//! Texts with fields in them: `{name}` is a field of the record, the rest stands for itself.

use std::borrow::Cow;

use crate::error::{Error, Result};
use crate::import::json::Node;
use crate::import::mapping::config::Item;
use crate::model::Text;

/// A record as a mapping sees it.
#[derive(Clone, Copy)]
pub(super) struct View<'n, 'a> {
    pub(super) node: &'n Node<'a>,
    /// Texts that mean that a field is absent.
    pub(super) absent: &'n [Text],
}

impl<'n, 'a> View<'n, 'a> {
    /// The field at `path`, unless it is null or a text that means so.
    pub(super) fn get(&self, path: &Path) -> Option<&'n Node<'a>> {
        path.find(self.node).filter(|node| !self.is_absent(node))
    }

    pub(super) fn is_absent(&self, node: &Node<'_>) -> bool {
        match node {
            Node::Null => true,
            Node::Text(text) => self.absent.iter().any(|absent| absent == text.as_ref()),
            _ => false,
        }
    }
}

/// Where a field is: a name, dotted names into nested objects, or a JSON pointer (`/a/0/b~1c`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    text: String,
    /// The steps of a JSON pointer.
    pointer: Option<Vec<String>>,
}

impl Path {
    pub(super) fn new(text: &str) -> Path {
        let unescape = |step: &str| step.replace("~1", "/").replace("~0", "~");
        let pointer = text.strip_prefix('/').map(|steps| steps.split('/').map(unescape).collect());
        Path { text: text.to_owned(), pointer }
    }

    /// As it is written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The name that the field has among flattened attributes.
    pub(super) fn flat_name(&self) -> String {
        self.pointer.as_ref().map_or_else(|| self.text.clone(), |steps| steps.join("."))
    }

    /// The node there; the empty path is the node itself. A key that has the dots in it wins over
    /// nested objects: `a.b` is first looked for under that very name.
    fn find<'n, 'a>(&self, node: &'n Node<'a>) -> Option<&'n Node<'a>> {
        match &self.pointer {
            None if self.text.is_empty() => Some(node),
            None => dotted(node, &self.text),
            Some(steps) => steps.iter().try_fold(node, |node, step| match node {
                Node::List(items) => items.get(step.parse::<usize>().ok()?),
                _ => node.member(step),
            }),
        }
    }
}

fn dotted<'n, 'a>(node: &'n Node<'a>, path: &str) -> Option<&'n Node<'a>> {
    node.member(path).or_else(|| {
        let (head, rest) = path.split_once('.')?;
        dotted(node.member(head)?, rest)
    })
}

/// A compiled text.
#[derive(Clone, Debug)]
pub(super) struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Literal(String),
    Field(Path),
}

impl Template {
    /// The template in a mapping file.
    ///
    /// A lone word that repeats its own key (`kind = "kind"`) is refused: the field was meant.
    pub(super) fn compile(item: &Item<'_>) -> Result<Template> {
        let template = Template::parse(item.text()?).map_err(|message| item.error(message))?;
        if template.constant() == Some(item.name()) {
            return Err(
                item.error(format!("a text without braces stands for itself; the field is \"{{{}}}\"", item.name()))
            );
        }
        Ok(template)
    }

    /// The template that a table translates: it must have a field, or there is nothing to translate.
    pub(super) fn compile_from(item: &Item<'_>) -> Result<Template> {
        let template = Template::compile(item)?;
        match template.constant() {
            Some(text) => Err(item.error(format!("`{text}` has no field; a field is written \"{{name}}\""))),
            None => Ok(template),
        }
    }

    pub(super) fn parse(text: &str) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(doubled) = rest.strip_prefix(brace) {
                literal.push_str(brace);
                rest = doubled;
                continue;
            }
            let field = match (brace, rest.find('}')) {
                ("{", Some(end)) => &rest[..end],
                ("{", None) => return Err("a `{` is not closed; a brace that stands for itself is doubled".to_owned()),
                _ => return Err("a `}` without `{`; a brace that stands for itself is doubled".to_owned()),
            };
            rest = &rest[field.len() + 1..];
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(Part::Field(Path::new(field)));
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Template { text: text.to_owned(), parts })
    }

    /// As it is written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Its text, if it has no fields.
    pub(super) fn constant(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// Its field, if it is nothing but one.
    pub(super) fn field(&self) -> Option<&Path> {
        match self.parts.as_slice() {
            [Part::Field(path)] => Some(path),
            _ => None,
        }
    }

    /// All its fields.
    pub(super) fn fields(&self) -> impl Iterator<Item = &Path> {
        self.parts.iter().filter_map(|part| match part {
            Part::Field(path) => Some(path),
            Part::Literal(_) => None,
        })
    }

    /// The text for one record; `None` when a field is absent.
    pub(super) fn render<'n>(&'n self, view: View<'n, '_>) -> Result<Option<Cow<'n, str>>> {
        match self.parts.as_slice() {
            [] => Ok(Some(Cow::Borrowed(""))),
            [Part::Literal(text)] => Ok(Some(Cow::Borrowed(text))),
            [Part::Field(path)] => field_text(path, view),
            parts => {
                let mut text = String::new();
                for part in parts {
                    match part {
                        Part::Literal(literal) => text.push_str(literal),
                        Part::Field(path) => match field_text(path, view)? {
                            Some(field) => text.push_str(&field),
                            None => return Ok(None),
                        },
                    }
                }
                Ok(Some(Cow::Owned(text)))
            }
        }
    }
}

fn field_text<'n>(path: &Path, view: View<'n, '_>) -> Result<Option<Cow<'n, str>>> {
    match view.get(path) {
        None => Ok(None),
        Some(node) => match node.text() {
            Some(text) => Ok(Some(text)),
            None => Err(Error::invalid(format!("field `{}` is a list or an object, not a text", path.text()))),
        },
    }
}
