#pragma once
// Pieces of HTML for the report page.

#include <string>
#include <vector>

namespace tessera {

/// Text for element content and quoted attributes: & < > " ' are escaped, control characters and bytes
/// that are not UTF-8 become U+FFFD.
std::string escape_html(const std::string& text);

/// "data:image/png;base64,..."
std::string png_url(const std::string& bytes);

/// A section with a heading; id is unique on the page, title and content are HTML.
std::string html_section(const std::string& id, const std::string& title, const std::string& content);

/// Colours and names of runs, in the order of their colours; names are plain text.
std::string html_legend(const std::vector<std::string>& names);

/// A paragraph of class "note", or "missing" for what is not there.
std::string html_note(const std::string& html);
std::string html_missing(const std::string& html);

/// The whole page around a body: style, script, and a policy that forbids requests to anywhere.
/// title is plain text, body is HTML.
std::string html_page(const std::string& title, const std::string& body);

}  // namespace tessera
