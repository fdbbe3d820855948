import Foundation

/// A text file of the repository with its path relative to the root.
struct SourceFile: Sendable {
  let path: String
  let text: [UInt8]
  /// In Swift files the text without comments and string literals; see `SwiftBlanker`.
  let code: [UInt8]

  init(path: String, text: String) {
    self.path = path
    self.text = Array(text.utf8)
    code = path.hasSuffix(".swift") ? SwiftBlanker.blank(self.text) : self.text
  }

  var lineCount: Int { SourceLines.count(in: text) }

  /// The target a file under `Sources` belongs to; nil elsewhere and for an unknown folder.
  var target: ImportTable.Row? {
    ImportTable.rows.first { path.hasPrefix($0.folder + "/") }
  }

  func isIn(_ folder: String) -> Bool { path.hasPrefix(folder + "/") }
}

/// Line arithmetic on bytes; lines count from 1.
enum SourceLines {
  static let newline = UInt8(ascii: "\n")

  static func count(in text: [UInt8]) -> Int {
    let newlines = text.count { $0 == newline }
    return text.isEmpty || text.last == newline ? newlines : newlines + 1
  }

  static func number(at index: Int, in text: [UInt8]) -> Int {
    text[..<index].count { $0 == newline } + 1
  }

  static func split(_ text: [UInt8]) -> [String] {
    text.split(separator: newline, omittingEmptySubsequences: false)
      .map { String(decoding: $0, as: UTF8.self) }
  }
}

extension UInt8 {
  /// Whether the byte can be part of a Swift or Python identifier; every non-ASCII byte may.
  var isIdentifierByte: Bool {
    switch self {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), 0x80...0xff:
      true
    default: false
    }
  }
}
