import Core

/// A place in a text file; lines and columns count from 1, columns in Unicode scalars.
package struct Place: Sendable, Hashable, Comparable, Codable {
  package var line: Int
  package var column: Int

  package init(line: Int, column: Int) {
    self.line = line
    self.column = column
  }

  package static let start = Place(line: 1, column: 1)

  package static func < (a: Place, b: Place) -> Bool {
    (a.line, a.column) < (b.line, b.column)
  }
}

/// One thing that is wrong in a file: where, what, and what to write instead.
package struct Diagnostic: Sendable, Hashable, Codable, CustomStringConvertible {
  package var file: String
  package var line: Int
  package var column: Int
  package var message: String

  package init(file: String, place: Place, message: String) {
    self.file = file
    line = place.line
    column = place.column
    self.message = message
  }

  package var description: String { "\(file):\(line):\(column): \(message)" }
}

/// The errors of one file, gathered while it is read so that all of them are told at once.
///
/// Not shared between tasks: one reading makes one.
package final class Diagnostics {
  package let file: String
  private var found: [Diagnostic] = []

  package init(file: String) { self.file = file }

  package func report(_ message: String, at place: Place) {
    found.append(Diagnostic(file: file, place: place, message: message))
  }

  package var isEmpty: Bool { found.isEmpty }

  /// In the order of the file, each once.
  package var all: [Diagnostic] {
    var seen: Set<Diagnostic> = []
    return found.filter { seen.insert($0).inserted }.enumerated().sorted {
      ($0.element.line, $0.element.column, $0.offset) < (
        $1.element.line, $1.element.column, $1.offset
      )
    }.map(\.element)
  }
}

/// Definitions that were refused, with everything that is wrong with them.
package struct DefinitionErrors: Error, Sendable, CustomStringConvertible {
  package var diagnostics: [Diagnostic]

  package init(_ diagnostics: [Diagnostic]) { self.diagnostics = diagnostics }

  package var description: String { diagnostics.map(\.description).joined(separator: "\n") }

  /// The same as the error that leaves the platform; its message has one line for each error.
  package var platformError: PlatformError {
    let count = diagnostics.count
    return PlatformError(
      .invalidDefinition,
      description + "\n\(count) error\(count == 1 ? "" : "s"); nothing was applied",
      context: ["errors": "\(count)"])
  }
}
