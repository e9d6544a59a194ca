//! Pages and texts of applications, in which tokens stand among other things.

use crate::fixture::{Bed, Call};

const ROUTES: &str = "
routes:
  - name: page
    path: /page/{id}
    methods: [GET]
    upstream: app
    open: anywhere
    rules: [{path: $.name, class: name}]
";

/// A gate with a route of pages, and a token of a name.
async fn pages(name: &str) -> (Bed, String) {
    let bed = Bed::with(|setup| setup.replace("\nroutes:\n", ROUTES));
    let document = serde_json::json!({"name": [{"family": name}]}).to_string();
    let [token] = bed.tokens("/Patient/1", &document, ["/name/0/family"]).await;
    (bed, token)
}

async fn page(bed: &Bed, who: &str, media_type: &str, page: &str) -> String {
    bed.upstream.keep_as(media_type, "/page/1", page.to_owned());
    let read = bed.make(who, &Call::new("GET /page/1")).await;
    assert_eq!(read.status, 200, "{}", read.text());
    assert_eq!(read.header("content-type"), Some(media_type));
    read.text()
}

#[tokio::test]
async fn a_token_is_opened_with_the_escapes_of_its_place() {
    let (bed, token) = pages("O'Brien <b>&\"").await;
    let html = format!(
        "<!doctype html><title>{token}</title><p title=\"{token}\">{token}</p><a href=\"/p?n={token}\">x</a>\
         <script>var n = '{token}';</script><!-- {token} --><style>{token}</style><p onclick=\"f('{token}')\">"
    );
    let shown = page(&bed, "clinician", "text/html; charset=utf-8", &html).await;
    let text = "O&#39;Brien &lt;b&gt;&amp;&quot;";
    assert!(shown.contains(&format!("<title>{text}</title>")), "{shown}");
    assert!(shown.contains(&format!("<p title=\"{text}\">{text}</p>")), "{shown}");
    assert!(shown.contains("href=\"/p?n=O%27Brien%20%3Cb%3E%26%22\""), "{shown}");
    assert!(shown.contains(r"var n = 'O\u0027Brien \u003cb\u003e\u0026\u0022';"), "{shown}");
    // Where a value could become something else it stays sealed.
    assert!(shown.contains(&format!("<!-- {token} --><style>{token}</style><p onclick=\"f('{token}')\">")), "{shown}");
    let support = page(&bed, "support", "text/html", &html).await;
    assert!(support.contains("<title>[REDACTED]</title>") && !support.contains("Brien"), "{support}");
    let dba = page(&bed, "dba", "text/html", &html).await;
    assert_eq!(dba, html);
    let event = bed.gate.events().pop().unwrap();
    assert_eq!(event["event"], "ExchangeAnswered", "{event}");
}

#[tokio::test]
async fn a_text_shows_what_its_tokens_hold() {
    let (bed, token) = pages("Chalmers").await;
    let text = format!("Dear {token},\r\nx{token} {token}x\n{token}");
    let shown = page(&bed, "clinician", "text/plain", &text).await;
    assert!(shown.starts_with("Dear Chalmers,\r\nx") && shown.ends_with("\nChalmers"), "{shown}");
    bed.upstream.keep_as("text/plain", "/page/1", &b"\xff\xfe"[..]);
    bed.make("clinician", &Call::new("GET /page/1")).await.expect_problem(502, "response_not_understood");
    bed.upstream.keep_as("text/html; charset=iso-8859-1", "/page/1", "x");
    bed.make("clinician", &Call::new("GET /page/1")).await.expect_problem(502, "response_not_understood");
}
