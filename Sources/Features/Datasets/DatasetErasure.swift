import Core

/// Erasing entity keys from saved training sets.
extension DatasetStore: ErasureTarget {
  package var name: String { "datasets" }

  /// Rows of the key go from every set that has all its columns; the files with them are removed for good.
  package func erase(_ subject: ErasureSubject) async throws -> Int {
    var removed = 0
    for dataset in try await records("ORDER BY id", []) {
      removed += try await erase(subject, from: dataset)
    }
    // Also what a crash left of an erasure before.
    for dataset in try await records("ORDER BY id", []) where dataset.replacedFile != nil {
      var settled = dataset
      settled.replacedFile = nil
      if let file = dataset.replacedFile {
        let all = try await records("", [])
        if !all.contains(where: { $0.file == file }) { try await blobs.remove(file) }
      }
      try await update(settled)
    }
    return removed
  }

  private func erase(_ subject: ErasureSubject, from dataset: SavedDataset) async throws -> Int {
    let names = subject.columns.compactMap { dataset.keyColumns[$0] }
    var changed = dataset
    changed.spine = subject.masked(in: dataset.spine)
    guard names.count == subject.columns.count else {
      if changed != dataset { try await update(changed) }
      return 0
    }
    let rows = try await rows(of: dataset)
    let columns = names.compactMap { rows[$0] }
    guard columns.count == names.count else { return 0 }
    let kept = (0..<rows.count).filter { row in
      !zip(columns, subject.texts).allSatisfy { $0.text(at: row) == $1 }
    }
    if kept.count < rows.count {
      let left = rows.gather(kept)
      changed.file = try await put(left)
      changed.replacedFile = dataset.file
      changed.hash = TrainingSetHash.of(left)
      changed.rows = left.count
      changed.erasedRows += rows.count - left.count
    }
    if changed != dataset { try await update(changed) }
    return rows.count - kept.count
  }
}

extension Column {
  /// A key part as text, nil where it is null.
  fileprivate func text(at row: Int) -> String? {
    switch self[row] {
    case .string(let text): text
    case .int64(let number): String(number)
    case .double(let number): Int64(exactly: number).map { String($0) } ?? String(number)
    default: nil
    }
  }
}

extension ErasureSubject {
  /// A text in which the parts of the key, as whole words, are no longer to be read, where all of them are in it.
  fileprivate func masked(in text: String) -> String {
    var masked = text
    for part in texts {
      guard let next = masked.masking(word: part) else { return text }
      masked = next
    }
    return masked
  }
}

extension String {
  /// Nil where the word is not in it.
  fileprivate func masking(word: String) -> String? {
    func isWord(_ character: Character?) -> Bool {
      character.map { $0.isLetter || $0.isNumber || $0 == "_" } ?? false
    }
    var masked = ""
    var found = false
    var rest = self[...]
    while !word.isEmpty, let range = rest.firstRange(of: word) {
      let before = rest[..<range.lowerBound].last ?? masked.last
      let after = rest[range.upperBound...].first
      let isWhole = !isWord(before) && !isWord(after)
      masked += rest[..<range.lowerBound]
      masked += isWhole ? "(erased)" : word
      found = found || isWhole
      rest = rest[range.upperBound...]
    }
    return found ? masked + rest : nil
  }
}
