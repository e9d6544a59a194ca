//! How each file of the test data goes through the gate.

use super::phi::Phi;
use serde_json::Value;
use std::collections::BTreeSet;

/// What becomes of a file.
pub(super) enum Passage {
    /// It is written and read again.
    Whole,
    /// Its elements are, one by one: a list of resources is none itself.
    Elements,
    /// It is a form with files, which does not come as an answer.
    Upload,
    /// It is a change, written by that method, of which the upstream makes no document.
    Change(&'static str),
    /// It is refused.
    Refused(u16, &'static str),
}

/// How the files of that name, in which `*` is anything within a folder, go through.
pub(super) struct Row {
    pub(super) files: &'static str,
    pub(super) media_type: &'static str,
    pub(super) path: &'static str,
    pub(super) phi: Phi,
    pub(super) passage: Passage,
}

impl Row {
    pub(super) fn takes(&self, file: &str) -> bool {
        match self.files.split_once('*') {
            None => self.files == file,
            Some((start, end)) => {
                let middle = file.strip_prefix(start).and_then(|rest| rest.strip_suffix(end));
                middle.is_some_and(|middle| !middle.contains('/'))
            }
        }
    }
}

const fn whole(files: &'static str, path: &'static str, media_type: &'static str, phi: Phi) -> Row {
    Row { files, media_type, path, phi, passage: Passage::Whole }
}

const fn fhir(files: &'static str) -> Row {
    whole(files, "/fhir/Any/1", "application/fhir+json", Phi::Fhir)
}

const fn lines(files: &'static str) -> Row {
    whole(files, "/fhir/Any/1", "application/fhir+ndjson", Phi::Fhir)
}

const fn fhir_xml(files: &'static str) -> Row {
    whole(files, "/fhir/Any/1", "application/fhir+xml", Phi::Markup(&["Patient", "subject"], FHIR_XML))
}

/// Attributes of elements in FHIR XML that name persons.
const FHIR_XML: &[(&str, &str)] = &[
    ("family", "value"),
    ("given", "value"),
    ("line", "value"),
    ("city", "value"),
    ("birthDate", "value"),
    ("display", "value"),
    ("value", "value"),
];

const DICOM: Phi = Phi::Json(&[
    "$..['00100010'].Value[*].Alphabetic",
    "$..['00100020'].Value[*]",
    "$..['00100030'].Value[*]",
    "$..['00101010'].Value[*]",
]);

const MESSAGE: Phi = Phi::Message(&[
    ("PID", 2, 1),
    ("PID", 3, 1),
    ("PID", 4, 1),
    ("PID", 5, 1),
    ("PID", 5, 2),
    ("PID", 5, 3),
    ("PID", 6, 1),
    ("PID", 6, 2),
    ("PID", 7, 1),
    ("PID", 9, 1),
    ("PID", 11, 1),
    ("PID", 11, 2),
    ("PID", 13, 1),
    ("PID", 13, 4),
    ("PID", 13, 7),
    ("PID", 14, 1),
    ("PID", 18, 1),
    ("PID", 19, 1),
    ("PID", 20, 1),
    ("PID", 20, 2),
    ("PID", 21, 1),
    ("NK1", 2, 1),
    ("NK1", 2, 2),
    ("NK1", 4, 1),
    ("NK1", 5, 1),
    ("NK1", 5, 7),
    ("NK1", 6, 1),
    ("NK1", 30, 1),
    ("NK1", 31, 1),
    ("GT1", 3, 1),
    ("GT1", 3, 2),
    ("GT1", 5, 1),
    ("GT1", 6, 1),
    ("GT1", 12, 1),
    ("IN1", 16, 1),
    ("IN1", 16, 2),
    ("IN1", 18, 1),
    ("IN1", 19, 1),
    ("IN1", 36, 1),
    ("IN2", 2, 1),
    ("IN2", 6, 1),
]);

const INTERCHANGE: Phi = Phi::Interchange(&[
    ("NM1*IL", 3),
    ("NM1*IL", 4),
    ("NM1*IL", 9),
    ("NM1*QC", 3),
    ("NM1*QC", 4),
    ("NM1*QC", 9),
    ("N3", 1),
    ("DMG", 2),
    ("REF*0F", 2),
    ("REF*1L", 2),
    ("CLM", 1),
    ("CLP", 1),
]);

const DOCUMENT: Phi = Phi::Markup(
    &["patientRole"],
    &[
        ("given", ""),
        ("family", ""),
        ("streetAddressLine", ""),
        ("city", ""),
        ("birthTime", "value"),
        ("telecom", "value"),
        ("id", "extension"),
    ],
);

const ENVELOPE: Phi = Phi::Markup(
    &["patient", "patientIdentifier", "ActiveParticipant", "ParticipantObjectIdentification"],
    &[
        ("given", ""),
        ("family", ""),
        ("streetAddressLine", ""),
        ("city", ""),
        ("birthTime", "value"),
        ("id", "extension"),
        ("value", "extension"),
        ("self", "UserName"),
        ("self", "UserID"),
        ("self", "ParticipantObjectID"),
        ("ParticipantObjectQuery", ""),
    ],
);

const ASSERTION: Phi = Phi::Assertion(&[
    "urn:oasis:names:tc:xspa:1.0:subject:subject-id",
    "urn:oasis:names:tc:xacml:2.0:resource:resource-id",
]);

const FORM: &[&str] = &[
    "form_pubpid",
    "form_fname",
    "form_lname",
    "form_DOB",
    "form_ss",
    "form_drivers_license",
    "form_street",
    "form_city",
    "form_postal_code",
    "form_mothersname",
];

const OPENMRS_FORM: Phi = Phi::Fields(&[
    "patient.names[0].givenName",
    "patient.names[0].familyName",
    "patient.birthdate",
    "patient.addresses[0].address1",
    "patient.addresses[0].cityVillage",
    "patient.addresses[0].postalCode",
    "identifiers[0].identifier",
    "identifiers[1].identifier",
]);

const OSCAR_FORM: Phi = Phi::Fields(&["last_name", "first_name", "address", "city", "postal", "hin", "chart_no"]);

const REGISTRATION: Phi = Phi::Json(&[
    "$.person.names[*].givenName",
    "$.person.names[*].familyName",
    "$.person.birthdate",
    "$.person.addresses[*].address1",
    "$.person.addresses[*].cityVillage",
    "$.person.attributes[*].value",
    "$.identifiers[*].identifier",
]);

const PATIENTS: Phi = Phi::Table(&[
    "Id",
    "BIRTHDATE",
    "DEATHDATE",
    "SSN",
    "DRIVERS",
    "PASSPORT",
    "FIRST",
    "LAST",
    "MAIDEN",
    "BIRTHPLACE",
    "ADDRESS",
    "CITY",
    "ZIP",
]);

pub(super) fn rows() -> Vec<Row> {
    let soap = "application/soap+xml; charset=utf-8";
    let posted = "application/x-www-form-urlencoded";
    let multipart = "multipart/form-data; boundary=----LegacyFormBoundary7MA4YWxkTrZu0gW";
    vec![
        fhir("fhir/*.json"),
        lines("fhir/*.ndjson"),
        fhir("fhir/bundles/*.json"),
        fhir("fhir/hl7-r4/*.json"),
        fhir("fhir/us-core/*.json"),
        fhir("fhir/requests/bundle_transaction_put_patient.json"),
        // Its patches are sealed as such, and touch nothing that is.
        Row {
            phi: Phi::Nobody,
            passage: Passage::Change("POST"),
            ..fhir("fhir/requests/bundle_transaction_patch_authorized.json")
        },
        fhir("fhir/requests/hapi_*.json"),
        fhir("fhir/requests/patient_*.json"),
        Row { passage: Passage::Elements, ..fhir("fhir/requests/transaction_bundle_audit_events.json") },
        fhir("fhir/openmrs/PatientWebTest_create.json"),
        Row {
            files: "fhir/openmrs/Patient_patch.json",
            media_type: "application/merge-patch+json",
            path: "/fhir/Patient/1",
            phi: Phi::Nobody,
            passage: Passage::Change("PATCH"),
        },
        fhir_xml("fhir/openmrs/*_create.xml"),
        // Changes of XML (RFC 5261) are of no type that is known.
        Row {
            files: "fhir/openmrs/Patient_xmlpatch.xml",
            media_type: "application/xml-patch+xml",
            path: "/fhir/Patient/1",
            phi: Phi::Nobody,
            passage: Passage::Refused(415, "content_type_unsupported"),
        },
        fhir_xml("fhir/xml/*.xml"),
        lines("ndjson/*.000.ndjson"),
        // The log of a bulk export.
        whole("ndjson/log.ndjson", "/export-log/1", "application/x-ndjson", Phi::Json(&["$.eventDetail.exportUrl"])),
        whole("dicom/*.json", "/dicom/1", "application/dicom+json", DICOM),
        whole("csv/patients.csv", "/table/patients", "text/csv", PATIENTS),
        whole("csv/claims.csv", "/table/claims", "text/csv", Phi::Table(&["PATIENTID"])),
        whole("csv/conditions.csv", "/table/events", "text/csv", Phi::Table(&["PATIENT"])),
        whole("csv/encounters.csv", "/table/events", "text/csv", Phi::Table(&["PATIENT"])),
        whole("csv/immunizations.csv", "/table/events", "text/csv", Phi::Table(&["PATIENT"])),
        whole("hl7v2/*.hl7", "/message/1", "x-application/hl7-v2+er7", MESSAGE),
        whole("x12/*", "/interchange/1", "application/edi-x12", INTERCHANGE),
        whole("ccda/*.xml", "/document/1", "application/xml", DOCUMENT),
        whole("soap/ITI-*.xml", "/envelope/1", soap, ENVELOPE),
        whole("soap/iti-18-log.xml", "/envelope/1", "application/xml", ENVELOPE),
        whole("soap/1_*.xml", "/envelope/1", soap, ASSERTION),
        whole("forms/openemr-new-*.urlencoded", "/form/1", posted, Phi::Fields(FORM)),
        whole("forms/openmrs-short-patient-form.urlencoded", "/form/1", posted, OPENMRS_FORM),
        whole("forms/oscar-add-demographic.urlencoded", "/form/1", posted, OSCAR_FORM),
        whole("forms/openmrs-rest-create-patient.json", "/registration/1", "application/json", REGISTRATION),
        Row { passage: Passage::Upload, ..whole("forms/*.multipart", "/form/1", multipart, Phi::Parts(FORM)) },
    ]
}

/// A value that the list lets pass.
pub(super) enum Is {
    Text(&'static str),
    /// Any that is the `id` of a resource in the file too.
    Id,
}

/// Values that stand where the rules let them pass, too.
pub(super) struct Passing {
    pub(super) file: &'static str,
    pub(super) value: Is,
    pub(super) reason: &'static str,
}

const fn passing(file: &'static str, value: &'static str, reason: &'static str) -> Passing {
    Passing { file, value: Is::Text(value), reason }
}

const fn ids_of(file: &'static str) -> Passing {
    Passing {
        file,
        value: Is::Id,
        reason: "the number of a record is its id at the server too, which needs it, in references and URLs",
    }
}

const NINES: &str = "the end of decimals such as 119.43599999999999";

pub(super) const PASSING: &[Passing] = &[
    passing("ccda/ccd.xml", "19750501", "also the start of the care that it tells of, and dates of events pass"),
    passing("ccda/diagnostic-imaging-report.xml", "12345", "the start of the numbers of orders and of the study"),
    ids_of("fhir/bundles/synthea-1mb.json"),
    passing("fhir/bundles/synthea-1mb.json", "99999999999", NINES),
    ids_of("fhir/bundles/synthea-3mb.json"),
    passing("fhir/bundles/synthea-3mb.json", "99999999999", NINES),
    ids_of("fhir/bundles/synthea-medium.json"),
    passing("fhir/bundles/synthea-medium.json", "99999999999", NINES),
    ids_of("fhir/bundles/synthea-nonascii.json"),
    ids_of("fhir/bundles/synthea-small-1.json"),
    ids_of("fhir/bundles/synthea-small-2.json"),
    passing("fhir/hl7-r4/Claim-100150.json", "12345", "the start of 123456, the code of a diagnosis"),
    passing("fhir/hl7-r4/Patient-example.json", "1974-12-25", "also the start of a period of an address"),
    passing("fhir/patient-example.json", "1974-12-25", "also the start of a period of an address"),
    passing(
        "fhir/requests/transaction_bundle_audit_events.json",
        "http://localhost:9080/auth/realms/test",
        "also the system of identifiers, and systems pass",
    ),
    ids_of("fhir/synthea-patients.ndjson"),
    passing("fhir/xml/bundle-example.xml", "JoelAlexPatient", "also the id in references to the patient"),
    passing("hl7v2/ADT-A01-01.hl7", "Green", "the start of Greenland, where the patient's bed is"),
    passing("hl7v2/ADT-A06-01.hl7", "Smith", "a physician has that name too"),
    passing("hl7v2/MDM-T02-01.hl7", "PROSOLV", "also the application that sends the message"),
    ids_of("ndjson/Encounter.000.ndjson"),
    ids_of("ndjson/Patient.000.ndjson"),
    passing("x12/add-subscriber-coverage.834", "123456789", "the start of the addresses of sender and receiver"),
];

/// Files that name no patient: who is meant stands in references alone, whose ids the server needs.
pub(super) const NOBODY: &[&str] = &[
    "fhir/requests/patient_id_search.json",
    "ndjson/AllergyIntolerance.000.ndjson",
    "ndjson/Condition.000.ndjson",
    "ndjson/Immunization.000.ndjson",
    "ndjson/MedicationRequest.000.ndjson",
    "ndjson/Practitioner.000.ndjson",
];

/// Files in which an object stands beside a date that is sealed. The token goes into that object, and the date comes back
/// before it: the same JSON in another order.
pub(super) const BESIDE: &[&str] = &["fhir/hl7-r4/Patient-example.json", "fhir/patient-example.json"];

/// Files with a search, whose value is sealed once for each class that it can be of.
pub(super) const SEARCHES: &[&str] = &["fhir/hl7-r4/Bundle-bundle-transaction.json"];

/// The ids of the resources in documents.
pub(super) fn ids(documents: &[Value]) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    let mut left: Vec<&Value> = documents.iter().collect();
    while let Some(value) = left.pop() {
        match value {
            Value::Array(elements) => left.extend(elements),
            Value::Object(members) => {
                ids.extend(members.get("id").and_then(Value::as_str).map(str::to_owned));
                left.extend(members.values());
            }
            _ => {}
        }
    }
    ids
}
