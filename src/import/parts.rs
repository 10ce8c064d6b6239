//! What every decoder must see to while it builds an event: entities are sets, attribute names are
//! unique, and the limits hold before anything grows out of proportion to its line.

use std::borrow::Cow;
use std::sync::LazyLock;

use smallvec::SmallVec;

use crate::error::{Error, Result};
use crate::import::json::{Node, repeated};
use crate::model::{Entity, Limits, Text, Value};

static LIMITS: LazyLock<Limits> = LazyLock::new(Limits::default);

/// The attributes of an event, as they are gathered.
pub(super) type Attributes = SmallVec<[(Text, Value); 1]>;

/// Adds one attribute.
///
/// The limits are kept here already, not only in the store, because flattening multiplies: a long
/// name with many members would make far more text than the line has.
pub(super) fn add_attribute(attributes: &mut Attributes, name: Text, value: Value) -> Result<()> {
    if name.len() > LIMITS.name_bytes {
        return Err(Error::invalid(format!("attribute name of {} bytes, at most {}", name.len(), LIMITS.name_bytes)));
    }
    if attributes.len() >= LIMITS.attributes {
        return Err(Error::invalid(format!("more than {} attributes", LIMITS.attributes)));
    }
    attributes.push((name, value));
    Ok(())
}

/// Adds `node` under `name`: the members of an object as `name.member`, a list as JSON text.
/// What `wanted` says no to is left out, with all its members.
pub(super) fn add_flattened(
    attributes: &mut Attributes,
    name: &str,
    node: &Node<'_>,
    wanted: &dyn Fn(&str, &Node<'_>) -> bool,
) -> Result<()> {
    if let Node::Object(members) = node {
        for (member, node) in members {
            let name = if name.is_empty() { Cow::Borrowed(member.as_ref()) } else { Cow::Owned(joined(name, member)?) };
            if wanted(&name, node) {
                add_flattened(attributes, &name, node, wanted)?;
            }
        }
        return Ok(());
    }
    match node.value() {
        Some(value) => add_attribute(attributes, Text::from(name), value),
        None => Ok(()),
    }
}

/// `outer.member`.
pub(super) fn joined(outer: &str, member: &str) -> Result<String> {
    if outer.len() + member.len() >= LIMITS.name_bytes {
        return Err(Error::invalid(format!("attribute name longer than {} bytes", LIMITS.name_bytes)));
    }
    Ok(format!("{outer}.{member}"))
}

/// Refuses a name that occurs twice.
pub(super) fn check_attributes(attributes: &Attributes) -> Result<()> {
    let names = |from: usize| attributes[from..].iter().map(|(name, _)| name.as_str());
    // Few are compared with each other, which allocates nothing.
    let twice = if attributes.len() <= 16 {
        names(0).enumerate().find(|&(i, name)| names(i + 1).any(|other| other == name)).map(|(_, name)| name)
    } else {
        repeated(names(0).collect())
    };
    match twice {
        Some(name) => Err(Error::invalid(format!("attribute `{name}` is given twice"))),
        None => Ok(()),
    }
}

/// Adds `entity` to `subjects` unless it is there.
pub(super) fn add_subject(subjects: &mut SmallVec<[Entity; 1]>, entity: Entity) -> Result<()> {
    add_entity(subjects, entity, LIMITS.subjects, "subjects")
}

/// Adds `entity` to `context` unless it is there.
pub(super) fn add_context(context: &mut SmallVec<[Entity; 2]>, entity: Entity) -> Result<()> {
    add_entity(context, entity, LIMITS.context, "context entities")
}

fn add_entity<const N: usize>(
    entities: &mut SmallVec<[Entity; N]>,
    entity: Entity,
    limit: usize,
    what: &str,
) -> Result<()>
where
    [Entity; N]: smallvec::Array<Item = Entity>,
{
    if entities.contains(&entity) {
        return Ok(());
    }
    if entities.len() >= limit {
        return Err(Error::invalid(format!("more than {limit} {what}")));
    }
    entities.push(entity);
    Ok(())
}
