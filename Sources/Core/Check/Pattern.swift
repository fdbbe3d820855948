/// A regular expression that is matched in time linear in the text, whatever the expression.
///
/// It must match the whole text; `^` and `$` may be written and change nothing at the ends. Understood are literals,
/// `.` (anything but a line feed), classes (`[a-z]`, `[^…]`, `\d`, `\w`, `\s` and their capitals, all of ASCII), groups
/// (`(…)`, `(?:…)`), `|`, and `*`, `+`, `?`, `{n}`, `{n,}`, `{n,m}`. Back references and look-around cannot be matched in linear
/// time and are refused, like an expression whose counted repetitions unfold to more than `Pattern.maximumStates` states.
///
/// The states are simulated side by side (K. Thompson, Regular Expression Search Algorithm, 1968).
package struct Pattern: Sendable, Equatable {
  /// States of one unfolded expression.
  package static let maximumStates = 2_000
  /// UTF-8 bytes of a text that is looked at; a longer one does not match.
  package static let maximumTextBytes = 64 << 10

  /// What is wrong with an expression, and at which character of it.
  package struct Fault: Error, Equatable {
    package var message: String
    package var offset: Int
  }

  package let text: String
  let program: [PatternState]

  package init(_ text: String) throws(Fault) {
    self.text = text
    program = try PatternCompiler.compile(text)
  }

  package static func == (a: Pattern, b: Pattern) -> Bool { a.text == b.text }

  package func matches(_ value: String) -> Bool {
    guard value.utf8.count <= Self.maximumTextBytes else { return false }
    var run = PatternRun(program)
    run.begin()
    var isFirst = true
    for scalar in value.unicodeScalars {
      run.step(scalar.value, isFirst: isFirst)
      isFirst = false
      if run.isDead { return false }
    }
    return run.accepts(isEmpty: isFirst)
  }
}

enum PatternState: Sendable {
  case scalars(PatternClass, next: Int)
  case split(Int, Int)
  /// Passed only before the first scalar.
  case start(next: Int)
  /// Passed only after the last scalar.
  case end(next: Int)
  case accept
}

/// A set of Unicode scalars.
struct PatternClass: Sendable, Equatable {
  var ranges: [ClosedRange<UInt32>]
  var isNegated = false

  func contains(_ scalar: UInt32) -> Bool {
    for range in ranges where range.contains(scalar) { return !isNegated }
    return isNegated
  }
}

/// The states that are alive at one place of a text.
private struct PatternRun {
  private let program: [PatternState]
  private var alive: [Int] = []
  private var next: [Int] = []
  /// The step at which a state was last added.
  private var marks: [Int]
  private var stack: [Int] = []
  private var generation = 1

  init(_ program: [PatternState]) {
    self.program = program
    marks = [Int](repeating: 0, count: program.count)
  }

  var isDead: Bool { alive.isEmpty }

  mutating func begin() {
    alive.removeAll(keepingCapacity: true)
    follow(0, isStart: true, isEnd: false)
    swap(&alive, &next)
  }

  mutating func step(_ scalar: UInt32, isFirst: Bool) {
    generation += 1
    for index in alive {
      if case .scalars(let set, let target) = program[index], set.contains(scalar) {
        follow(target, isStart: false, isEnd: false)
      }
    }
    alive.removeAll(keepingCapacity: true)
    swap(&alive, &next)
  }

  mutating func accepts(isEmpty: Bool) -> Bool {
    generation += 1
    for index in alive { follow(index, isStart: isEmpty, isEnd: true) }
    return next.contains { if case .accept = program[$0] { true } else { false } }
  }

  /// Adds a state and all that are reached from it without a scalar. An unmet `$` stays alive: the text may end here.
  private mutating func follow(_ first: Int, isStart: Bool, isEnd: Bool) {
    stack.append(first)
    while let index = stack.popLast() {
      guard marks[index] != generation else { continue }
      marks[index] = generation
      switch program[index] {
      case .split(let one, let other):
        stack.append(other)
        stack.append(one)
      case .start(let target): if isStart { stack.append(target) }
      case .end(let target): if isEnd { stack.append(target) } else { next.append(index) }
      case .scalars, .accept: next.append(index)
      }
    }
  }
}
