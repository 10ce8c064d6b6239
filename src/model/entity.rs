//! Entities: anything an event can be about.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::model::Text;

/// Anything an event can be about, written `type:id`.
///
/// The type is a free word without a colon; the id is any text. `customer` is the one type with a
/// special role: it roots a stream.
///
/// ```
/// use ofone::Entity;
/// let router: Entity = "router:LON-7:a".parse().unwrap();
/// assert_eq!((router.kind.as_str(), router.id.as_str()), ("router", "LON-7:a"));
/// assert_eq!(Entity::customer("C42").to_string(), "customer:C42");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entity {
    /// The type: `customer`, `service`, `olt`, ... Never empty, no colon.
    pub kind: Text,
    /// The identifier within the type. Never empty.
    pub id: Text,
}

impl Entity {
    /// The entity `kind:id`; whether it keeps the limits is checked when it is stored.
    pub fn new(kind: impl Into<Text>, id: impl Into<Text>) -> Entity {
        Entity { kind: kind.into(), id: id.into() }
    }

    /// A customer under the default type name.
    pub fn customer(id: impl Into<Text>) -> Entity {
        Entity::new("customer", id)
    }
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.id)
    }
}

impl FromStr for Entity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Entity> {
        match text.split_once(':') {
            Some((kind, id)) if !kind.is_empty() && !id.is_empty() => Ok(Entity::new(kind, id)),
            _ => Err(Error::invalid(format!("an entity is written type:id, got `{text}`"))),
        }
    }
}
