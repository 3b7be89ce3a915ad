//! A value on its way out of a task: typed inside a process, bytes between processes.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::TaskError;
use crate::data::Wire;

/// A value that leaves its task.
#[derive(Clone)]
pub enum Payload {
    /// The value itself; stays in its process.
    Value(Arc<dyn Any + Send + Sync>),
    /// Encoded by the node that made it (postcard).
    Bytes(Arc<Vec<u8>>),
}

impl Payload {
    /// Wraps `v`, encoded when `bytes`.
    pub(crate) fn new<T: Wire>(v: T, bytes: bool) -> Result<Payload, TaskError> {
        Ok(if bytes { Payload::encode(&v)? } else { Payload::Value(Arc::new(v)) })
    }

    /// Encodes `v`.
    pub(crate) fn encode<T: Serialize>(v: &T) -> Result<Payload, TaskError> {
        let b = postcard::to_stdvec(v).map_err(TaskError::codec::<T>)?;
        Ok(Payload::Bytes(Arc::new(b)))
    }

    /// The value, decoded when it came as bytes.
    pub(crate) fn get<T: Wire>(&self) -> Result<Arc<T>, TaskError> {
        match self {
            Payload::Value(a) => a.clone().downcast().map_err(|_| {
                TaskError::Bug(format!("a value is not a {}", std::any::type_name::<T>()))
            }),
            Payload::Bytes(b) => {
                postcard::from_bytes(b).map(Arc::new).map_err(TaskError::codec::<T>)
            }
        }
    }

    /// The value, without a copy where nobody else holds it.
    pub(crate) fn take<T: Wire>(self) -> Result<T, TaskError> {
        let a = self.get::<T>()?;
        drop(self);
        Ok(Arc::try_unwrap(a).unwrap_or_else(|a| T::clone(&a)))
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Payload::Value(_) => f.write_str("Value"),
            Payload::Bytes(b) => write!(f, "{} bytes", b.len()),
        }
    }
}

/// Lets every frame derive serde: a typed value that would slip out of its process is an error.
impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Payload::Bytes(b) => s.serialize_bytes(b),
            Payload::Value(_) => {
                Err(serde::ser::Error::custom("a typed value may not leave its process"))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visit;
        impl serde::de::Visitor<'_> for Visit {
            type Value = Payload;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, b: &[u8]) -> Result<Payload, E> {
                Ok(Payload::Bytes(Arc::new(b.to_vec())))
            }
            fn visit_byte_buf<E>(self, b: Vec<u8>) -> Result<Payload, E> {
                Ok(Payload::Bytes(Arc::new(b)))
            }
        }
        d.deserialize_byte_buf(Visit)
    }
}
