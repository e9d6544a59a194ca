//! What prefixes mean (Namespaces in XML 1.0, 3rd edition).

/// The most declarations that may be in scope.
const DECLARED_MAX: usize = 256;

const XML: &[u8] = b"http://www.w3.org/XML/1998/namespace";
const XMLNS: &[u8] = b"http://www.w3.org/2000/xmlns/";

/// The declarations in scope, the innermost last.
#[derive(Default)]
pub(super) struct Namespaces {
    declared: Vec<Declared>,
    /// Whether a prefix that is not declared stands for itself.
    pub(super) open: bool,
}

struct Declared {
    prefix: Box<[u8]>,
    uri: Box<[u8]>,
    /// How many elements are open around the one that declares it.
    depth: usize,
}

impl Namespaces {
    /// Takes the attribute `name`, of an element with `depth` elements around it, if it is a declaration.
    pub(super) fn declare(&mut self, name: &[u8], uri: &[u8], depth: usize) -> Result<(), &'static str> {
        let prefix = match name.strip_prefix(b"xmlns:") {
            Some(prefix) => prefix,
            None => &[],
        };
        match (prefix, uri) {
            (b"xmlns", _) | (_, XMLNS) => return Err("declaration of the prefix or namespace of `xmlns`"),
            (b"xml", XML) => return Ok(()),
            (b"xml", _) | (_, XML) => return Err("declaration of the prefix or namespace of `xml`"),
            ([_, ..], []) => return Err("prefix without a namespace"),
            _ => {}
        }
        if self.declared.len() >= DECLARED_MAX {
            return Err("more than 256 namespace declarations");
        }
        self.declared.push(Declared { prefix: prefix.into(), uri: uri.into(), depth });
        Ok(())
    }

    /// Forgets the declarations of an element with `depth` elements around it.
    pub(super) fn leave(&mut self, depth: usize) {
        while self.declared.last().is_some_and(|declared| declared.depth >= depth) {
            self.declared.pop();
        }
    }

    /// The namespace of a prefix; of none, the default one. `None` when it is not declared.
    pub(super) fn uri<'a>(&'a self, prefix: &'a [u8]) -> Option<&'a [u8]> {
        match prefix {
            b"xml" => return Some(XML),
            b"xmlns" => return None,
            _ => {}
        }
        let found = self.declared.iter().rev().find(|declared| *declared.prefix == *prefix);
        match found {
            Some(declared) => Some(&declared.uri),
            None if prefix.is_empty() => Some(&[]),
            None => self.open.then_some(prefix),
        }
    }
}

/// Whether an attribute declares a namespace.
pub(super) fn is_declaration(name: &[u8]) -> bool {
    name == b"xmlns" || name.starts_with(b"xmlns:")
}
