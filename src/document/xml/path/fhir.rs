//! Paths by FHIR resource type, as paths to the XML form of resources.
//!
//! In XML a primitive stands in the attribute `value` of an element that has its name. Elements are in the namespace
//! of FHIR, but for the `div` of a narrative, which is matched in any (FHIR R4, 2.6.1).

use super::XmlPath;
use crate::document::Role;
use crate::document::fhir::{FhirPath, FhirTest, Step};
use crate::document::path::PathError;

/// The namespace of FHIR, as in a path.
const FHIR: &str = "{http://hl7.org/fhir}";

/// The names of the elements in which resources stand.
pub(in crate::document::xml) const PLACES: [&str; 3] = ["resource", "contained", "outcome"];

impl XmlPath {
    /// The same values in XML, from a resource of the type, wherever it stands in the document.
    ///
    /// All primitives in the element that the path leads to are selected, so that one that leads to a complex element selects no
    /// less than in JSON. `text.div` is the narrative, as markup. `url` of an extension is an attribute, `id` may be one below the
    /// first level; `_name` is the element
    /// `name`, in which its extensions stand.
    ///
    /// # Errors
    ///
    /// When a text that is compared holds quotes of both kinds.
    pub fn of_fhir(path: &FhirPath) -> Result<Vec<XmlPath>, PathError> {
        let heads = heads(path);
        let mut tail = String::new();
        let mut parent = "";
        let (last, before) = path.steps().split_last().ok_or(PathError::new("wanted a member", 1))?;
        for step in before {
            tail += &element(step)?;
            parent = &step.name;
        }
        let value = format!("{}//@value", element(last)?);
        let tails = match (parent, last.name.as_str()) {
            ("text", "div") => vec![format!("/div{}/markup()", tests(last)?)],
            ("extension" | "modifierExtension", "url") => vec!["/@url".to_owned()],
            ("", _) => vec![value],
            (_, "id") => vec![value, "/@id".to_owned()],
            _ => vec![value],
        };
        let paths = heads.iter().flat_map(|head| tails.iter().map(move |tail| (head, tail)));
        paths.map(|(head, last)| XmlPath::parse(&format!("{head}{tail}{last}"))).collect()
    }
}

impl XmlPath {
    /// The primitive in XML that the path leads to, and the text of the extension `url` of it. Nothing but extensions may stand in
    /// its element then.
    ///
    /// # Errors
    ///
    /// As [`of_fhir`](Self::of_fhir).
    pub fn of_fhir_primitive(path: &FhirPath, url: &str) -> Result<Vec<XmlPath>, PathError> {
        let tail = path.steps().iter().map(element).collect::<Result<String, _>>()?;
        let carried = format!("/{FHIR}extension[@url='{url}']/{FHIR}valueString/@value");
        let lasts = [("/@value", Role::Primitive), (&carried, Role::Carried)];
        let paths =
            heads(path).into_iter().flat_map(|head| lasts.map(|(last, role)| (format!("{head}{tail}{last}"), role)));
        paths.map(|(path, role)| Ok(XmlPath { role, ..XmlPath::parse(&path)? })).collect()
    }
}

/// The elements that a path starts from.
fn heads(path: &FhirPath) -> Vec<String> {
    match path.resource() {
        Some(kind) => vec![format!("//{FHIR}{kind}")],
        None => {
            let places = PLACES.iter().map(|place| format!("//{FHIR}{place}/*"));
            std::iter::once("/*".to_owned()).chain(places).collect()
        }
    }
}

fn element(step: &Step) -> Result<String, PathError> {
    let axis = if step.descendant { "//" } else { "/" };
    let name = step.name.strip_prefix('_').unwrap_or(&step.name);
    Ok(format!("{axis}{FHIR}{name}{}", tests(step)?))
}

fn tests(step: &Step) -> Result<String, PathError> {
    let is_extension = matches!(step.name.as_str(), "extension" | "modifierExtension");
    step.tests.iter().map(|test| predicate(test, is_extension)).collect()
}

fn predicate(test: &FhirTest, is_extension: bool) -> Result<String, PathError> {
    let quote = match (test.text.contains('\''), test.text.contains('"')) {
        (true, true) => return Err(PathError::new("quotes of both kinds in a text", 1)),
        (true, false) => '"',
        (false, _) => '\'',
    };
    let way = if is_extension && test.names == ["url"] {
        "@url".to_owned()
    } else {
        test.names.iter().map(|name| format!("{FHIR}{name}/")).collect::<String>() + "@value"
    };
    Ok(format!("[{way}={quote}{}{quote}]", test.text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fhir_paths_become_paths() {
        for (path, expect) in [
            ("Patient.birthDate", &["//#Patient/#birthDate//@value"][..]),
            ("Patient.name.family", &["//#Patient/#name/#family//@value"]),
            (
                "Patient.identifier.where(system='x').value",
                &["//#Patient/#identifier[#system/@value='x']/#value//@value"],
            ),
            (
                "Patient.identifier.where(type.coding.code='MR' and use='usual').value",
                &["//#Patient/#identifier[#type/#coding/#code/@value='MR'][#use/@value='usual']/#value//@value"],
            ),
            ("Patient.extension('u').valueString", &["//#Patient/#extension[@url='u']/#valueString//@value"]),
            (
                "Patient._birthDate.extension('u').valueDateTime",
                &["//#Patient/#birthDate/#extension[@url='u']/#valueDateTime//@value"],
            ),
            ("Patient.modifierExtension('it\\'s').url", &["//#Patient/#modifierExtension[@url=\"it's\"]/@url"]),
            ("Patient.photo.where(url='u').data", &["//#Patient/#photo[#url/@value='u']/#data//@value"]),
            ("Patient.text.div", &["//#Patient/#text/div/markup()"]),
            (
                "Consent.provision.**.actor.reference.display",
                &["//#Consent/#provision//#actor/#reference/#display//@value"],
            ),
            ("Patient.name.id", &["//#Patient/#name/#id//@value", "//#Patient/#name/@id"]),
            (
                "Resource.id",
                &[
                    "/*/#id//@value",
                    "//#resource/*/#id//@value",
                    "//#contained/*/#id//@value",
                    "//#outcome/*/#id//@value",
                ],
            ),
        ] {
            let found = XmlPath::of_fhir(&FhirPath::parse(path).unwrap()).unwrap();
            let found: Vec<String> = found.iter().map(XmlPath::to_string).collect();
            let expect: Vec<String> = expect.iter().map(|path| path.replace('#', FHIR)).collect();
            assert_eq!(found, expect, "{path}");
        }
        let both = FhirPath::parse("Patient.name.where(use='\\'\"').family").unwrap();
        assert!(XmlPath::of_fhir(&both).is_err());
    }
}
