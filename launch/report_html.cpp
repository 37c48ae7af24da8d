#include "launch/report_html.h"

#include <cstdint>

#include "launch/report_style.h"
#include "runtime/error.h"

namespace tessera {
namespace {

/// Bytes of the UTF-8 sequence at a position, 0 when there is none.
size_t utf8_length(const std::string& text, size_t at) {
  const auto byte = [&](size_t offset) {
    return at + offset < text.size() ? static_cast<uint8_t>(text[at + offset]) : uint8_t{0};
  };
  const uint8_t lead = byte(0);
  const size_t length = lead < 0x80                   ? 1
                        : lead >= 0xc2 && lead < 0xe0 ? 2
                        : (lead & 0xf0) == 0xe0       ? 3
                        : lead >= 0xf0 && lead < 0xf5 ? 4
                                                      : 0;
  for (size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xc0) != 0x80) return 0;
  // Overlong forms, surrogates, and code points beyond the last one.
  if ((lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xed && byte(1) > 0x9f) ||
      (lead == 0xf0 && byte(1) < 0x90) || (lead == 0xf4 && byte(1) > 0x8f))
    return 0;
  return length;
}

}  // namespace

std::string escape_html(const std::string& text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t length = utf8_length(text, at);
    const char letter = text[at];
    const bool control = length == 1 && (static_cast<uint8_t>(letter) < 0x20 || letter == 0x7f) &&
                         letter != '\n' && letter != '\t';
    if (length == 0 || control)
      out += "\ufffd";
    else if (letter == '&')
      out += "&amp;";
    else if (letter == '<')
      out += "&lt;";
    else if (letter == '>')
      out += "&gt;";
    else if (letter == '"')
      out += "&quot;";
    else if (letter == '\'')
      out += "&#39;";
    else
      out.append(text, at, length);
    at += length == 0 ? 1 : length;
  }
  return out;
}

std::string png_url(const std::string& bytes) {
  constexpr const char* kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string url = "data:image/png;base64,";
  for (size_t at = 0; at < bytes.size(); at += 3) {
    const size_t have = bytes.size() - at;
    uint32_t word = 0;
    for (size_t i = 0; i < 3; ++i) word = word << 8 | (i < have ? static_cast<uint8_t>(bytes[at + i]) : 0u);
    for (size_t i = 0; i < 4; ++i) url += i <= have ? kLetters[(word >> (18 - 6 * i)) & 63] : '=';
  }
  return url;
}

std::string html_section(const std::string& id, const std::string& title, const std::string& content) {
  return "<section aria-labelledby=\"" + id + "\"><h2 id=\"" + id + "\">" + title + "</h2>" + content +
         "</section>\n";
}

std::string html_legend(const std::vector<std::string>& names) {
  std::string html = "<ul class=\"legend\">";
  for (size_t i = 0; i < names.size(); ++i)
    html += str("<li class=\"run-", i % 6, "\"><span class=\"swatch\"></span><span>", escape_html(names[i]),
                "</span></li>");
  return html + "</ul>";
}

std::string html_note(const std::string& html) { return "<p class=\"note\">" + html + "</p>"; }

std::string html_missing(const std::string& html) { return "<p class=\"missing\">" + html + "</p>"; }

std::string html_page(const std::string& title, const std::string& body) {
  return std::string("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n") +
         "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
         "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>" +
         escape_html(title) + "</title>\n<style>" + kReportStyle + "</style>\n</head>\n<body>\n<main>\n" +
         body + "\n</main>\n<script>" + kReportScript + "</script>\n</body>\n</html>\n";
}

}  // namespace tessera
