<?php
// Sends a message by SMTP with PHPMailer (composer require phpmailer/phpmailer, or Debian's libphp-phpmailer). PHP 8.
require is_file('vendor/autoload.php') ? 'vendor/autoload.php' : 'libphp-phpmailer/autoload.php';

use PHPMailer\PHPMailer\Exception;
use PHPMailer\PHPMailer\PHPMailer;

$mail = new PHPMailer(true);
try {
    $mail->isSMTP();
    $mail->Host = getenv('RELEVO_HOST');
    $mail->Port = (int) (getenv('RELEVO_PORT') ?: 587);
    $mail->SMTPSecure = PHPMailer::ENCRYPTION_STARTTLS;
    $mail->SMTPAuth = true;
    $mail->Username = getenv('RELEVO_USER');
    $mail->Password = getenv('RELEVO_PASSWORD');
    $mail->Timeout = 60;
    // A loop over many messages keeps the connection so: a handshake costs more than a message.
    $mail->SMTPKeepAlive = true;
    $mail->CharSet = PHPMailer::CHARSET_UTF8;
    $mail->setFrom('hello@shop.example', 'The shop');
    $mail->addAddress('ada@example.org', 'Ada');
    $mail->Subject = 'Your order is on its way';
    $mail->isHTML();
    $mail->Body = '<p>It is <b>on its way</b>.</p>';
    $mail->AltBody = 'It is on its way.';
    // In events, and what is counted by; it never leaves the relay.
    $mail->addCustomHeader('X-Relevo-Category', 'orders');
    $mail->send();
    $mail->smtpClose();
    echo "taken: it is on the relay's disk\n";
} catch (Exception $error) {
    // 4xx and broken connections: try again later, with longer and longer pauses. 5xx: it will not be taken as it is.
    $said = $mail->getSMTPInstance()->getError();
    $code = (int) ($said['smtp_code'] ?? 0);
    fwrite(STDERR, ($code >= 500 ? 'not to be sent again as it is' : 'try again later') . ": {$error->getMessage()} {$said['detail']}\n");
    exit(1);
}
