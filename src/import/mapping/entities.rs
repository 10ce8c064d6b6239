//! Subjects and context: entities made of fields, one by one or from a list.

use crate::error::{Error, Result};
use crate::import::json::Node;
use crate::import::mapping::config::{Item, Section};
use crate::import::mapping::template::{Path, Template, View};
use crate::model::Entity;

/// The entities of one role.
#[derive(Debug)]
pub(super) struct EntitiesRule(Vec<EntityRule>);

#[derive(Debug)]
enum EntityRule {
    One(Template),
    /// An entity for each element of a list; in `entity`, `{}` is the element.
    Each {
        list: Path,
        split: Option<String>,
        entity: Template,
    },
}

impl EntitiesRule {
    pub(super) fn compile(section: &Section<'_>, key: &'static str) -> Result<EntitiesRule> {
        let items = section.get(key).map_or_else(Vec::new, |item| item.items());
        Ok(EntitiesRule(items.iter().map(rule).collect::<Result<_>>()?))
    }

    /// Hands each entity of a record to `add`; an entity with an absent field is none.
    pub(super) fn each(&self, view: View<'_, '_>, add: &mut dyn FnMut(Entity) -> Result<()>) -> Result<()> {
        for rule in &self.0 {
            match rule {
                EntityRule::One(template) => add_one(template, view, add)?,
                EntityRule::Each { list, split, entity } => match (view.get(list), split) {
                    (None, _) => {}
                    (Some(Node::List(items)), _) => {
                        for node in items {
                            add_one(entity, View { node, ..view }, add)?;
                        }
                    }
                    (Some(Node::Text(text)), Some(split)) => {
                        for part in text.split(split.as_str()) {
                            let node = Node::Text(part.trim().into());
                            add_one(entity, View { node: &node, absent: view.absent }, add)?;
                        }
                    }
                    (Some(node), _) => add_one(entity, View { node, ..view }, add)?,
                },
            }
        }
        Ok(())
    }

    pub(super) fn paths<'m>(&'m self, paths: &mut Vec<&'m Path>) {
        for rule in &self.0 {
            match rule {
                EntityRule::One(template) => paths.extend(template.fields()),
                EntityRule::Each { list, .. } => paths.push(list),
            }
        }
    }
}

fn rule(item: &Item<'_>) -> Result<EntityRule> {
    if !item.is_table() {
        return entity_template(item).map(EntityRule::One);
    }
    let section = item.section()?;
    let list = Path::new(section.need("each")?.text()?);
    let split = match section.get("split") {
        Some(item) if item.text()?.is_empty() => return Err(item.error("expected a separator")),
        Some(item) => Some(item.text()?.to_owned()),
        None => None,
    };
    let entity = match section.get("entity") {
        Some(item) => entity_template(&item)?,
        None => Template::parse("{}").map_err(Error::invalid)?,
    };
    section.finish()?;
    Ok(EntityRule::Each { list, split, entity })
}

/// A template that can give `type:id`.
pub(super) fn entity_template(item: &Item<'_>) -> Result<Template> {
    let template = Template::compile(item)?;
    match template.constant() {
        Some(text) => text.parse::<Entity>().map(|_| template.clone()).map_err(|error| item.error(error.message())),
        None => Ok(template),
    }
}

/// The entity of a template; `None` when a field is absent.
pub(super) fn entity(template: &Template, view: View<'_, '_>) -> Result<Option<Entity>> {
    let Some(text) = template.render(view)? else { return Ok(None) };
    let entity: Entity = text.parse()?;
    let fields = template.fields().filter_map(|path| match view.get(path)? {
        Node::Text(text) => Some(text.as_ref()),
        _ => None,
    });
    if let Some(id) = fields.chain([entity.id.as_str()]).find(|text| is_mangled(text)) {
        return Err(Error::invalid(format!("id `{id}` looks like a long number that a spreadsheet has shortened")));
    }
    Ok(Some(entity))
}

fn add_one(template: &Template, view: View<'_, '_>, add: &mut dyn FnMut(Entity) -> Result<()>) -> Result<()> {
    entity(template, view)?.map_or(Ok(()), add)
}

/// `8.46E+10`: what spreadsheets make of telephone numbers. Different customers become one.
fn is_mangled(id: &str) -> bool {
    let Some((digits, exponent)) = id.split_once(['E', 'e']) else { return false };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_decimal = digits
        .split_once(['.', ','])
        .is_some_and(|(whole, fraction)| whole.len() == 1 && is_number(whole) && is_number(fraction));
    is_decimal && exponent.strip_prefix('+').is_some_and(is_number)
}
