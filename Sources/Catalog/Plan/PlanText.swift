import Core

extension DefinitionPlan {
  /// The plan for people: a line for each change that begins with `+`, `~` or `-`, and `!` for what stops it, with whom it breaks.
  package var text: String {
    if isEmpty, breakages.isEmpty {
      return (["No changes: the definitions in force are these."] + notes.map { "note: \($0)" })
        .joined(separator: "\n")
    }
    var lines = changes.flatMap(lines)
    for breakage in breakages {
      lines.append("! \(breakage.message)")
      if let breaks = breakage.breaks { lines.append("    breaks: \(breaks)") }
    }
    lines += notes.map { "note: \($0)" }
    lines.append("")
    lines.append(summary)
    return lines.joined(separator: "\n")
  }

  /// One line that counts the changes.
  package var summary: String {
    func count(_ action: Action) -> Int { changes.count { $0.action == action } }
    var text = "\(count(.added)) to add, \(count(.changed)) to change, \(count(.removed)) to remove"
    if !backfills.isEmpty {
      text +=
        "; \(backfills.count) feature\(backfills.count == 1 ? " is" : "s are") computed from stored events"
    }
    if !breakages.isEmpty { text += "; it cannot be applied as it is" }
    return text
  }

  private func lines(_ change: Change) -> [String] {
    let sign =
      switch change.action {
      case .added: "+"
      case .changed: "~"
      case .removed: "-"
      }
    let fields = change.fields.map { field in
      switch (field.old, field.new) {
      case (.some(let old), .some(let new)): "    \(field.field): \(old) → \(new)"
      case (.some(let old), .none): "  - \(field.field): \(old)"
      case (_, .some(let new)):
        "\(change.action == .added ? "    " : "  + ")\(field.field): \(new)"
      case (.none, .none): "    \(field.field)"
      }
    }
    return ["\(sign) \(change.kind.rawValue) \(change.name)"] + fields
      + (change.backfill.map { ["    backfill: \($0)"] } ?? [])
  }
}
