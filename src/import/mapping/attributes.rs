//! Attributes: named ones, members of an object, and all that no other part of the event took.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result};
use crate::import::json::Node;
use crate::import::mapping::config::{Item, Section};
use crate::import::mapping::template::{Path, Template, View};
use crate::import::parts::{self, Attributes};
use crate::model::{Text, Value};

/// Which fields become attributes, and under which names.
#[derive(Debug, Default)]
pub(super) struct AttributesRule {
    set: Vec<(Text, Template)>,
    flatten: Vec<Path>,
    rest: bool,
    /// Names left out by the mapping.
    except: BTreeSet<String>,
    /// Names taken by other parts of the event, and so left out of `rest`.
    taken: BTreeSet<String>,
    types: BTreeMap<String, Type>,
}

#[derive(Clone, Copy, Debug)]
enum Type {
    Text,
    Int,
    Float,
    Bool,
}

impl AttributesRule {
    pub(super) fn compile(section: &Section<'_>) -> Result<AttributesRule> {
        let mut rule = AttributesRule::default();
        let Some(item) = section.get("attributes") else { return Ok(rule) };
        if item.is_list() {
            for item in item.items() {
                let name = item.text()?;
                let template = Template::parse(&format!("{{{name}}}")).map_err(|message| item.error(message))?;
                rule.set.push((Text::from(name), template));
            }
            return Ok(rule);
        }
        if !item.is_table() {
            return match item.text()? {
                "rest" => Ok(AttributesRule { rest: true, ..rule }),
                _ => Err(item.error("`rest`, a list of fields, or a table")),
            };
        }
        let section = item.section()?;
        rule.rest = section.get("rest").map_or(Ok(false), |item| item.flag())?;
        for item in section.get("except").iter().flat_map(Item::items) {
            rule.except.insert(item.text()?.to_owned());
        }
        for item in section.get("flatten").iter().flat_map(Item::items) {
            rule.flatten.push(Path::new(item.text()?));
        }
        if let Some(item) = section.get("set") {
            for (name, item) in item.section()?.entries() {
                let template = Template::parse(item.text()?).map_err(|message| item.error(message))?;
                rule.set.push((Text::from(name), template));
            }
        }
        if let Some(item) = section.get("types") {
            for (name, item) in item.section()?.entries() {
                rule.types.insert(name.to_owned(), attribute_type(&item)?);
            }
        }
        section.finish()?;
        Ok(rule)
    }

    /// Leaves fields that other parts of the event are made of out of `rest`.
    pub(super) fn leave_out(&mut self, paths: &[&Path]) {
        let set = self.set.iter().flat_map(|(_, template)| template.fields());
        let own = set.chain(&self.flatten).map(Path::flat_name);
        self.taken = own.chain(paths.iter().map(|path| path.flat_name())).collect();
    }

    pub(super) fn add(&self, view: View<'_, '_>, attributes: &mut Attributes) -> Result<()> {
        let kept = |name: &str| !self.except.contains(name);
        for (name, template) in &self.set {
            match template.field() {
                Some(path) => {
                    if let Some(node) = view.get(path) {
                        self.add_node(attributes, name, node, view, &kept)?;
                    }
                }
                None => {
                    if let Some(text) = template.render(view)? {
                        let value = Value::from(text.as_ref());
                        let value = match self.types.get(name.as_str()) {
                            Some(wanted) => converted(name, &value, *wanted)?,
                            None => value,
                        };
                        parts::add_attribute(attributes, name.clone(), value)?;
                    }
                }
            }
        }
        for path in &self.flatten {
            match view.get(path) {
                None => {}
                Some(node @ Node::Object(_)) => self.add_node(attributes, "", node, view, &kept)?,
                Some(_) => return Err(Error::invalid(format!("field `{}` is not an object", path.text()))),
            }
        }
        if self.rest {
            let kept = |name: &str| !self.except.contains(name) && !self.taken.contains(name);
            self.add_node(attributes, "", view.node, view, &kept)?;
        }
        parts::check_attributes(attributes)
    }

    fn add_node(
        &self,
        attributes: &mut Attributes,
        name: &str,
        node: &Node<'_>,
        view: View<'_, '_>,
        kept: &dyn Fn(&str) -> bool,
    ) -> Result<()> {
        let first = attributes.len();
        parts::add_flattened(attributes, name, node, &|name, node| kept(name) && !view.is_absent(node))?;
        if !self.types.is_empty() {
            for (name, value) in &mut attributes[first..] {
                if let Some(wanted) = self.types.get(name.as_str()) {
                    *value = converted(name, value, *wanted)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn paths<'m>(&'m self, paths: &mut Vec<&'m Path>) {
        paths.extend(self.set.iter().flat_map(|(_, template)| template.fields()));
        paths.extend(&self.flatten);
    }
}

fn attribute_type(item: &Item<'_>) -> Result<Type> {
    match item.text()? {
        "text" => Ok(Type::Text),
        "int" => Ok(Type::Int),
        "float" => Ok(Type::Float),
        "bool" => Ok(Type::Bool),
        _ => Err(item.error("`text`, `int`, `float` or `bool`")),
    }
}

fn converted(name: &str, value: &Value, wanted: Type) -> Result<Value> {
    let text = value.to_string();
    let (converted, what) = match wanted {
        Type::Text => (Some(Value::from(text.as_str())), "text"),
        Type::Int => (text.trim().parse::<i64>().ok().map(Value::Int), "a whole number"),
        Type::Float => {
            let number = text.trim().parse::<f64>().ok();
            (number.filter(|number| number.is_finite()).map(Value::Float), "a number")
        }
        Type::Bool => (text.trim().to_ascii_lowercase().parse().ok().map(Value::Bool), "true or false"),
    };
    converted.ok_or_else(|| Error::invalid(format!("attribute `{name}`: expected {what}, got `{text}`")))
}
