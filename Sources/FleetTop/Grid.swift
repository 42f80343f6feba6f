/// A table that makes do with the width it is given: columns of low rank go first, then long names are cut.
struct Grid {
    struct Column {
        enum Side { case left, right }

        let title: String
        let side: Side
        /// Those with the highest leave first; one of rank 0 never does.
        let rank: Int
        /// Down to how many columns it may be cut; nil when it is not cut.
        let least: Int?

        init(_ title: String, _ side: Side = .right, rank: Int = 0, least: Int? = nil) {
            (self.title, self.side, self.rank, self.least) = (title, side, rank, least)
        }
    }

    struct Cell {
        let text: String
        let style: Style

        init(_ text: String, _ style: Style = .plain) {
            self.text = Columns.printable(text)
            self.style = style
        }
    }

    let columns: [Column]
    let rows: [[Cell]]

    private static let gap = 2

    /// Head and rows in no more than `width` columns.
    func lines(width: Int) -> (head: StyledLine, rows: [StyledLine]) {
        let natural = columns.indices.map { column in
            rows.reduce(Columns.width(columns[column].title)) { max($0, Columns.width($1[column].text)) }
        }
        var shown = Array(columns.indices)
        func least(_ column: Int) -> Int { min(natural[column], columns[column].least ?? natural[column]) }
        func needed() -> Int { shown.reduce(Self.gap * (shown.count - 1)) { $0 + least($1) } }
        while needed() > width, let last = shown.max(by: { columns[$0].rank < columns[$1].rank }),
            columns[last].rank > 0
        {
            shown.removeAll { $0 == last }
        }
        var spare = width - needed()
        var widths = natural
        for column in shown {
            let more = min(max(0, spare), natural[column] - least(column))
            widths[column] = least(column) + more
            spare -= more
        }
        func line(_ cells: [Cell]) -> StyledLine {
            var line = StyledLine()
            for (index, column) in shown.enumerated() {
                let text = Columns.cut(cells[column].text, to: widths[column])
                let space = String(repeating: " ", count: widths[column] - Columns.width(text))
                if index > 0 { line.append(String(repeating: " ", count: Self.gap)) }
                let isLast = index == shown.count - 1
                switch columns[column].side {
                case .right: line.append(space + text, cells[column].style)
                case .left: line.append(isLast ? text : text + space, cells[column].style)
                }
            }
            return line.cut(to: width)
        }
        return (line(columns.map { Cell($0.title, .dim) }), rows.map(line))
    }
}
