//! A serializer that makes the tree of which Postgres makes a jsonb.

use std::cell::Cell;
use std::cmp::Ordering;
use std::fmt::Display;

use pgrx::pg_sys;
use pgrx::pg_sys::jbvType as Kind;
use serde::ser::{Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, Serializer};
use serde_json::Number;

type Node = pg_sys::JsonbValue;
type Union = pg_sys::JsonbValue__bindgen_ty_1;

/// What is longer is left to Postgres, with its own error for what is too long.
const MAX_STRING_BYTES: usize = 1024 * 1024;
/// Texts stand together in pieces of this size.
const PIECE_BYTES: usize = 2048;
/// And so do the members of objects, and the elements of arrays.
const PIECE_NODES: usize = 48;

/// It has no place in such a tree.
#[derive(Debug)]
pub struct Unfit;

thread_local! {
    /// Kept from one tree to the next: a call makes several small ones.
    static SPARE: Cell<Parts> = const { Cell::new(Parts::EMPTY) };
}

/// As a jsonb in the current memory context. `Err`: it is no object or array, or holds what jsonb cannot hold.
pub fn datum(value: &impl Serialize) -> Result<Option<pg_sys::Datum>, Unfit> {
    let mut parts = SPARE.replace(Parts::EMPTY);
    let datum = parts.datum(value);
    parts.clear();
    SPARE.set(parts);
    datum
}

/// What nodes point to: it stays where it is, as no piece grows beyond its capacity.
struct Pieces<T>(Vec<Vec<T>>);

impl<T: Copy> Pieces<T> {
    /// `most`: of which a piece has room at least.
    fn keep(&mut self, items: &[T], most: usize) -> &mut [T] {
        let has_room = |piece: &Vec<T>| piece.capacity() - piece.len() >= items.len();
        if !self.0.last().is_some_and(has_room) {
            self.0.push(Vec::with_capacity(items.len().max(most)));
        }
        let piece = self.0.last_mut().expect("there is one by now");
        let at = piece.len();
        piece.extend_from_slice(items);
        &mut piece[at..]
    }

    /// Empty again, with one piece of the usual size at most.
    fn clear(&mut self, most: usize) {
        self.0.retain(|piece| piece.capacity() <= most);
        self.0.truncate(1);
        self.0.iter_mut().for_each(Vec::clear);
    }
}

/// Owns what the nodes of a tree point to.
struct Parts {
    pairs: Pieces<pg_sys::JsonbPair>,
    nodes: Pieces<Node>,
    texts: Pieces<u8>,
    /// Members and elements of the objects and arrays that are being made, the innermost last.
    open_pairs: Vec<pg_sys::JsonbPair>,
    open_nodes: Vec<Node>,
    /// The last number with a fraction: a score mostly stands several times.
    last: Option<(f64, pg_sys::Numeric)>,
}

impl Parts {
    const EMPTY: Parts = Parts {
        pairs: Pieces(Vec::new()),
        nodes: Pieces(Vec::new()),
        texts: Pieces(Vec::new()),
        open_pairs: Vec::new(),
        open_nodes: Vec::new(),
        last: None,
    };

    fn datum(&mut self, value: &impl Serialize) -> Result<Option<pg_sys::Datum>, Unfit> {
        let mut whole = value.serialize(&mut *self)?;
        if !matches!(whole.type_, Kind::jbvObject | Kind::jbvArray) {
            return Err(Unfit);
        }
        // SAFETY: a complete tree, whose parts live until after the call; Postgres copies all of it.
        Ok(Some(unsafe { pg_sys::JsonbValueToJsonb(&mut whole) }.into()))
    }

    /// For another tree, with the room that an ordinary one takes.
    fn clear(&mut self) {
        self.pairs.clear(PIECE_NODES);
        self.nodes.clear(PIECE_NODES);
        self.texts.clear(PIECE_BYTES);
        self.open_pairs.clear();
        self.open_pairs.shrink_to(PIECE_NODES);
        self.open_nodes.clear();
        self.open_nodes.shrink_to(PIECE_NODES);
        self.last = None;
    }

    fn text(&mut self, text: &str) -> Result<Node, Unfit> {
        if text.len() > MAX_STRING_BYTES || text.as_bytes().contains(&0) {
            return Err(Unfit);
        }
        Ok(text_node(self.texts.keep(text.as_bytes(), PIECE_BYTES)))
    }

    fn number(&mut self, number: Option<Number>) -> Node {
        let Some(number) = number else { return NULL };
        let fraction = number.as_f64().filter(|_| number.is_f64());
        let known = self.last.filter(|(last, _)| fraction.is_some_and(|now| now.to_bits() == last.to_bits()));
        let numeric = known.map_or_else(|| super::numeric_of(&number), |(_, numeric)| numeric);
        self.last = fraction.map(|fraction| (fraction, numeric)).or(self.last);
        Node { type_: Kind::jbvNumeric, val: Union { numeric } }
    }
}

const NULL: Node = Node { type_: Kind::jbvNull, val: Union { boolean: false } };

/// The text must live as long as the tree.
fn text_node(text: &[u8]) -> Node {
    let string = pg_sys::JsonbValue__bindgen_ty_1__bindgen_ty_1 {
        len: text.len() as i32,
        val: text.as_ptr().cast_mut().cast(),
    };
    Node { type_: Kind::jbvString, val: Union { string } }
}

/// The elements of an array that is being made: those of `open_nodes` from `start` on.
struct Items<'p> {
    parts: &'p mut Parts,
    start: usize,
}

/// The members of an object that is being made: those of `open_pairs` from `start` on.
struct Members<'p> {
    parts: &'p mut Parts,
    start: usize,
}

impl Members<'_> {
    fn member(&mut self, key: Node, value: &(impl Serialize + ?Sized)) -> Result<(), Unfit> {
        let value = value.serialize(&mut *self.parts)?;
        self.parts.open_pairs.push(pg_sys::JsonbPair { key, value, order: 0 });
        Ok(())
    }

    fn object(self) -> Node {
        // SAFETY: all keys are strings of parts that live.
        let key = |pair: &pg_sys::JsonbPair| unsafe {
            let string = pair.key.val.string;
            std::slice::from_raw_parts(string.val.cast::<u8>(), string.len as usize)
        };
        let Parts { pairs, open_pairs, .. } = self.parts;
        let kept = pairs.keep(&open_pairs[self.start..], PIECE_NODES);
        open_pairs.truncate(self.start);
        kept.sort_unstable_by(|a, b| order(key(a), key(b)));
        let object = pg_sys::JsonbValue__bindgen_ty_1__bindgen_ty_3 {
            nPairs: kept.len() as i32,
            pairs: kept.as_mut_ptr(),
        };
        Node { type_: Kind::jbvObject, val: Union { object } }
    }
}

/// How jsonb keeps its keys: the shorter first.
fn order(a: &[u8], b: &[u8]) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

impl<'p> Serializer for &'p mut Parts {
    type Ok = Node;
    type Error = Unfit;
    type SerializeSeq = Items<'p>;
    type SerializeTuple = Impossible<Node, Unfit>;
    type SerializeTupleStruct = Impossible<Node, Unfit>;
    type SerializeTupleVariant = Impossible<Node, Unfit>;
    type SerializeMap = Members<'p>;
    type SerializeStruct = Members<'p>;
    type SerializeStructVariant = Impossible<Node, Unfit>;

    fn serialize_bool(self, boolean: bool) -> Result<Node, Unfit> {
        Ok(Node { type_: Kind::jbvBool, val: Union { boolean } })
    }

    fn serialize_i8(self, number: i8) -> Result<Node, Unfit> {
        self.serialize_i64(number.into())
    }

    fn serialize_i16(self, number: i16) -> Result<Node, Unfit> {
        self.serialize_i64(number.into())
    }

    fn serialize_i32(self, number: i32) -> Result<Node, Unfit> {
        self.serialize_i64(number.into())
    }

    fn serialize_i64(self, number: i64) -> Result<Node, Unfit> {
        // SAFETY: a palloc'd numeric of any integer.
        let numeric = unsafe { pg_sys::int64_to_numeric(number) };
        Ok(Node { type_: Kind::jbvNumeric, val: Union { numeric } })
    }

    fn serialize_u8(self, number: u8) -> Result<Node, Unfit> {
        self.serialize_i64(number.into())
    }

    fn serialize_u16(self, number: u16) -> Result<Node, Unfit> {
        self.serialize_i64(number.into())
    }

    fn serialize_u32(self, number: u32) -> Result<Node, Unfit> {
        self.serialize_i64(number.into())
    }

    fn serialize_u64(self, number: u64) -> Result<Node, Unfit> {
        match i64::try_from(number) {
            Ok(number) => self.serialize_i64(number),
            Err(_) => Ok(self.number(Some(number.into()))),
        }
    }

    fn serialize_f32(self, number: f32) -> Result<Node, Unfit> {
        self.serialize_f64(number.into())
    }

    /// What is no finite number is null, as everywhere in JSON.
    fn serialize_f64(self, number: f64) -> Result<Node, Unfit> {
        Ok(self.number(Number::from_f64(number)))
    }

    fn serialize_char(self, text: char) -> Result<Node, Unfit> {
        self.text(text.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, text: &str) -> Result<Node, Unfit> {
        self.text(text)
    }

    fn serialize_bytes(self, _bytes: &[u8]) -> Result<Node, Unfit> {
        Err(Unfit)
    }

    fn serialize_none(self) -> Result<Node, Unfit> {
        Ok(NULL)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Node, Unfit> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Node, Unfit> {
        Ok(NULL)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<Node, Unfit> {
        Ok(NULL)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<Node, Unfit> {
        Ok(text_node(variant.as_bytes()))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Node, Unfit> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Result<Node, Unfit> {
        Err(Unfit)
    }

    fn serialize_seq(self, _length: Option<usize>) -> Result<Items<'p>, Unfit> {
        Ok(Items { start: self.open_nodes.len(), parts: self })
    }

    fn serialize_tuple(self, _length: usize) -> Result<Self::SerializeTuple, Unfit> {
        Err(Unfit)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Unfit> {
        Err(Unfit)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _length: usize,
    ) -> Result<Self::SerializeTupleVariant, Unfit> {
        Err(Unfit)
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Members<'p>, Unfit> {
        Ok(Members { start: self.open_pairs.len(), parts: self })
    }

    fn serialize_struct(self, _name: &'static str, length: usize) -> Result<Members<'p>, Unfit> {
        self.serialize_map(Some(length))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _length: usize,
    ) -> Result<Self::SerializeStructVariant, Unfit> {
        Err(Unfit)
    }
}

impl SerializeSeq for Items<'_> {
    type Ok = Node;
    type Error = Unfit;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unfit> {
        let item = value.serialize(&mut *self.parts)?;
        self.parts.open_nodes.push(item);
        Ok(())
    }

    fn end(self) -> Result<Node, Unfit> {
        let Parts { nodes, open_nodes, .. } = self.parts;
        let kept = nodes.keep(&open_nodes[self.start..], PIECE_NODES);
        open_nodes.truncate(self.start);
        let array = pg_sys::JsonbValue__bindgen_ty_1__bindgen_ty_2 {
            nElems: kept.len() as i32,
            elems: kept.as_mut_ptr(),
            rawScalar: false,
        };
        Ok(Node { type_: Kind::jbvArray, val: Union { array } })
    }
}

impl SerializeMap for Members<'_> {
    type Ok = Node;
    type Error = Unfit;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Unfit> {
        let key = key.serialize(&mut *self.parts)?;
        if !matches!(key.type_, Kind::jbvString) {
            return Err(Unfit);
        }
        self.parts.open_pairs.push(pg_sys::JsonbPair { key, value: NULL, order: 0 });
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unfit> {
        let value = value.serialize(&mut *self.parts)?;
        self.parts.open_pairs[self.start..].last_mut().ok_or(Unfit)?.value = value;
        Ok(())
    }

    fn end(self) -> Result<Node, Unfit> {
        Ok(self.object())
    }
}

impl SerializeStruct for Members<'_> {
    type Ok = Node;
    type Error = Unfit;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Unfit> {
        self.member(text_node(key.as_bytes()), value)
    }

    fn end(self) -> Result<Node, Unfit> {
        Ok(self.object())
    }
}

impl serde::ser::Error for Unfit {
    fn custom<T: Display>(_message: T) -> Unfit {
        Unfit
    }
}

impl std::error::Error for Unfit {}

impl Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("jsonb cannot hold this")
    }
}
