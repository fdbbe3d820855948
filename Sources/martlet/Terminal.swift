import Core
import Foundation

/// Text for people: tables, progress and complaints.
enum Terminal {
  static var isInteractive: Bool { isatty(STDERR_FILENO) == 1 }

  static func complain(_ text: String) {
    FileHandle.standardError.write(Data("martlet: \(text)\n".utf8))
  }

  /// Rows under a heading, columns as wide as their widest cell; numbers to the right.
  static func table(_ heading: [String], _ rows: [[String]]) -> String {
    let widths = heading.indices.map { index in
      ([heading] + rows).map { $0[index].count }.max() ?? 0
    }
    let numeric = heading.indices.map { index in
      !rows.isEmpty && rows.allSatisfy { Double($0[index]) != nil || $0[index].isEmpty }
    }
    func line(_ cells: [String]) -> String {
      cells.enumerated().map { index, cell in
        let blanks = String(repeating: " ", count: widths[index] - cell.count)
        return numeric[index] ? blanks + cell : cell + blanks
      }.joined(separator: "  ").trimmingTrailingBlanks
    }
    return ([line(heading)] + rows.map(line)).joined(separator: "\n")
  }

  static func grouped(_ number: Int64) -> String {
    let digits = Array(String(abs(number)))
    var text = number < 0 ? "-" : ""
    for (index, digit) in digits.enumerated() {
      if index > 0, (digits.count - index) % 3 == 0 { text += "," }
      text.append(digit)
    }
    return text
  }

  static func rounded(_ value: Double, _ places: Int = 4) -> String {
    String(format: "%.\(places)f", value)
  }
}

extension String {
  fileprivate var trimmingTrailingBlanks: String {
    var text = self
    while text.last == " " { text.removeLast() }
    return text
  }
}

/// A bar on a terminal, a plain line every few seconds elsewhere.
struct ProgressLine {
  private let label: String
  private let started = ContinuousClock.now
  private var lastShown: ContinuousClock.Instant?

  init(_ label: String) { self.label = label }

  /// - Parameter share: 0…1, nil where the end is unknown.
  mutating func show(share: Double?, rows: Int64) {
    let now = ContinuousClock.now
    let pause: Duration = Terminal.isInteractive ? .milliseconds(100) : .seconds(5)
    if let last = lastShown, now - last < pause { return }
    lastShown = now
    let seconds = max(Double((now - started).components.seconds), 0.001)
    let figures = "\(Terminal.grouped(rows)) rows, \(Int(seconds)) s"
    guard Terminal.isInteractive else {
      let percent = share.map { " \(Int($0 * 100)) %," } ?? ""
      FileHandle.standardError.write(Data("\(label):\(percent) \(figures)\n".utf8))
      return
    }
    let width = 30
    let filled = share.map { Int($0 * Double(width)) } ?? 0
    let bar = String(repeating: "█", count: filled) + String(repeating: "·", count: width - filled)
    FileHandle.standardError.write(Data("\r\(label) \(bar) \(figures) ".utf8))
  }

  func end() {
    guard Terminal.isInteractive, lastShown != nil else { return }
    FileHandle.standardError.write(Data("\r\u{1B}[K".utf8))
  }
}
