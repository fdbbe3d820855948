import Core
import Foundation

/// Shows what is in force and where it came from, and writes the reference page.
package struct ConfigurationReport: Sendable {
  package struct Line: Sendable, Equatable, Codable {
    package var name: String
    /// Nil where nothing is set; never a secret itself.
    package var value: String?
    package var origin: String
  }

  package let lines: [Line]

  package init(_ configuration: Configuration, origins: ConfigurationOrigins) {
    lines = Setting.all.map { setting in
      let value = setting.show(configuration)
      let origin = origins[setting.name].description
      return Line(
        name: setting.name,
        value: setting.isSecret ? value.map { _ in "(set, from \(origin))" } : value, origin: origin
      )
    }
  }

  /// Aligned lines: name, value, origin.
  package var text: String {
    let nameWidth = lines.map(\.name.count).max() ?? 0
    let valueWidth = lines.map { shown($0).count }.filter { $0 <= 40 }.max() ?? 0
    return lines.map { line in
      "\(padded(line.name, nameWidth))  \(padded(shown(line), valueWidth))  \(line.origin)"
    }.joined(separator: "\n")
  }

  package var json: String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    guard let data = try? encoder.encode(lines) else { return "[]" }
    return String(decoding: data, as: UTF8.self)
  }

  private func shown(_ line: Line) -> String { line.value ?? "(not set)" }

  private func padded(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
  }

  /// `docs/reference/configuration.md`, made from the table of settings.
  package static var reference: String {
    var page = """
      # Configuration

      Generated from the table of settings; do not edit.

      Values are taken from, each overriding the one before: the default, `\(ConfigurationLoader.fileName)` in the
      working directory (or the file of `--config` or `MARTLET_CONFIG`), `.env` in the working directory, the environment.
      A name or variable that is not known is an error. `martlet config show` prints what is in force and where it came from.

      In the file a name is nested: `server: {http_port: 0}`. Lengths of time are whole numbers with a unit: `500ms`, `30s`,
      `5m`, `24h`, `7d`; numbers of bytes likewise: `512MB`, `4GB`. Secrets are never written in the file and never printed.

      | setting | variable | default | what may be written | what it means |
      | --- | --- | --- | --- | --- |

      """
    for setting in Setting.all {
      let fallback = setting.defaultText.map { "`\($0)`" } ?? "none"
      let name =
        setting.isSecret ? "`\(setting.fileKey)` (a file that holds it)" : "`\(setting.name)`"
      page +=
        "| \(name) | `\(setting.variable)` | \(fallback) | \(setting.form) | \(setting.meaning) |\n"
    }
    page += """

      `MARTLET_PYTHON` is short for `MARTLET_WORKERS_PYTHON`.

      """
    return page
  }
}
